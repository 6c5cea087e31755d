"""Making a lock: every origin of a mixture is asked, once, what it has.

Enters: a mixture, or a replay of a published pool. Leaves: a `Lock`; nothing is written. Sources
of one repository at one revision share one look at it, so that they are of one commit.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.config import Mixture, Origin, Replay
from pipeline.core.digest import sha256_bytes
from pipeline.core.errors import ConfigError, InputError
from pipeline.core.progress import ReportProgress
from pipeline.sources.lock.entries import Lock, LockedSource, LockedTokenizer, located
from pipeline.sources.partitions import name_partitions
from pipeline.stages.tokenizer import EMBEDDED, read_json
from pipeline.storage import open_store

POOL: Final = "pool"
"""What the one source of a replay is called."""


def _refuse(name: str, error: InputError) -> None:
    raise error


def make_lock(
    mixture: Mixture | Replay,
    report: ReportProgress,
    on_trouble: Callable[[str, InputError], None] = _refuse,
) -> Lock:
    """Ask all origins of a mixture what they have.

    `report` is told how many sources are done. A source that cannot be listed is told to
    `on_trouble`, which raises or has it left out. Raises: InputError when one cannot be listed.
    """
    origins = sources_of(mixture)
    sources: dict[str, LockedSource] = {}
    commits: dict[tuple[str | None, str | None], str | None] = {}
    report("lock", 0, len(origins))
    for name in sorted(origins):
        origin = origins[name]
        # A branch that moves meanwhile moves for none of the sources.
        commit = commits.get((origin.hub, origin.revision))
        try:
            sources[name] = _lock_source(name, origin, mixture.folder, commit)
        except InputError as error:
            on_trouble(name, error)
            continue
        commits[origin.hub, origin.revision] = sources[name].revision
        report("lock", len(sources), len(origins))
    declared = mixture.tokenizer
    assert mixture.name is not None
    return Lock(
        name=mixture.name,
        tokenizer=_lock_tokenizer(declared.name, declared.revision, mixture.folder),
        algorithms=dict(sorted(_algorithms(mixture.declaration()))),
        sources=sources,
    )


def sources_of(mixture: Mixture | Replay) -> dict[str, Origin]:
    """Return the origins of a mixture by source; of a replay that of its pool, as `pool`."""
    if isinstance(mixture, Mixture):
        return {source.name: source.origin for source in mixture.sources}
    pool = mixture.pool
    if pool is None:
        return {}
    # Beside its shards, and the one index that names them, a pool has statistics that none reads.
    folder = pool.path if pool.hub is None else pool.folder
    files = (f"{folder}/index.json", f"{folder}/**/*.mds*")
    if pool.hub is None:
        return {POOL: Origin(path=files)}
    return {POOL: Origin(hub=pool.hub, revision=pool.revision, files=files)}


def _lock_source(name: str, origin: Origin, folder: Path, commit: str | None) -> LockedSource:
    opened = open_store(origin, folder, commit)
    files = opened.list()
    if name != POOL:
        # What cannot be built from is told now, not when all has been pulled.
        name_partitions(
            name, [(file.path, Path(file.path), file) for file in files], origin.partition
        )
    decode = origin.decode
    return LockedSource(
        origin=located(origin),
        revision=opened.revision,
        files=files,
        tokenizer=None
        if decode is None
        else _lock_tokenizer(decode.tokenizer, decode.revision, folder),
    )


def _lock_tokenizer(name: str, revision: str | None, folder: Path) -> LockedTokenizer:
    is_named = name == EMBEDDED or name.endswith(".json")
    commit = _newest(name) if revision is None and not is_named else revision
    digest = sha256_bytes(read_json(name, commit, folder))
    return LockedTokenizer(name=name, revision=commit, digest=digest)


def _newest(name: str) -> str:
    """Return the commit that a tokenizer on the Hub is at. Raises: InputError, ConfigError."""
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise ConfigError(
            f"{name}: got a Hub id, expected huggingface_hub to be installed for it",
            "pip install 'ettin-data[hub]', or name the path of a tokenizer.json",
        ) from error
    try:
        commit = HfApi().model_info(name).sha
    except Exception as error:  # Network, access and absence have many types there.
        raise InputError(
            f"{name}: cannot be looked up: {error}",
            "check the name; a gated repository wants a token (hf auth login)",
        ) from error
    assert commit is not None
    return commit


def _algorithms(declared: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, str]]:
    """Yield every named algorithm, and the place in the mixture that names it."""
    for name, value in declared.items():
        if name == "algorithm":
            yield where, value
        elif isinstance(value, dict):
            yield from _algorithms(value, f"{where}.{name}" if where else name)
