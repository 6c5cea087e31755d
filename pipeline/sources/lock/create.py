"""Making a lock of a mixture, or of the replay of a published pool.

Sources of one repository at one revision are resolved once, so that they are of one commit.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from pipeline.config import Mixture, Origin, Replay
from pipeline.core.digest import sha256_bytes
from pipeline.core.errors import InputError, NetworkError, NoMatchError
from pipeline.core.progress import ReportProgress, Work
from pipeline.sources.lock.lock import Lock, LockedSource, LockedTokenizer, location_of
from pipeline.sources.lock.pool_layout import archive_origins, pool_origin
from pipeline.sources.lock.remote_output import refuse_remote_output
from pipeline.sources.partitions import name_partitions
from pipeline.stages.tokenizer import EMBEDDED, latest_commit, read_json
from pipeline.storage import expand_addresses, host_of, open_store

Answer = TypeVar("Answer")
POOL: Final = "pool"
_SOURCES = Work(unit="sources")
"""The name of the one source of a replay."""


def _stop(name: str, error: InputError) -> None:
    raise error


def make_lock(
    mixture: Mixture | Replay,
    report: ReportProgress,
    known: Lock | None = None,
    on_failure: Callable[[str, InputError], None] = _stop,
) -> Lock:
    """Ask all origins of a mixture for their files.

    report: counts sources. on_failure: is called for each source, and for `tokenizer`, that cannot
    be listed; if it returns, `known` has what stands for it. No server is asked again after it
    could not be reached.

    Raises: InputError, without `on_failure`, when one cannot be listed.
    """
    origins = sources_of(mixture)
    sources: dict[str, LockedSource] = {}
    commits: dict[tuple[str | None, str | None], str | None] = {}
    servers = _Servers()
    report("lock", 0, len(origins), _SOURCES)
    for name, origin in sorted(origins.items()):
        # A branch that moves meanwhile moves for none of the sources.
        commit = commits.get((origin.hub, origin.revision))
        try:
            if isinstance(mixture, Replay):
                sources[name] = _lock_pool(mixture, origin, servers)
            else:
                sources[name] = _lock_source(name, origin, mixture.folder, commit, servers)
        except InputError as error:
            on_failure(name, error)
            if known is not None and name in known.sources:
                sources[name] = known.sources[name]
            continue
        commits[origin.hub, origin.revision] = sources[name].revision
        report("lock", len(sources), len(origins), _SOURCES)
    try:
        declared = mixture.tokenizer
        tokenizer = _lock_tokenizer(declared.name, declared.revision, mixture.folder, servers)
    except InputError as error:
        on_failure("tokenizer", error)
        assert known is not None
        tokenizer = known.tokenizer
    assert mixture.name is not None
    return Lock(
        name=mixture.name,
        tokenizer=tokenizer,
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
    return {POOL: pool_origin(pool)}


class _Servers:
    """The servers that are asked; one that could not be reached is not asked again."""

    def __init__(self) -> None:
        self._away: dict[str, NetworkError] = {}

    def ask(self, server: str, question: Callable[[], Answer]) -> Answer:
        """Return the answer of a server. Raises: as the question does, or NetworkError."""
        if server in self._away:
            # Each look at it would take all the retries.
            raise NetworkError(f"is not asked, since {self._away[server].message}")
        try:
            return question()
        except NetworkError as error:
            self._away[server] = error
            raise


def _server(origin: Origin) -> str:
    return " ".join(sorted({host_of(url) for url in origin.url})) if origin.url else origin.kind


def _lock_source(
    name: str, origin: Origin, folder: Path, commit: str | None, servers: _Servers
) -> LockedSource:
    store = servers.ask(_server(origin), lambda: open_store(origin, folder, commit))
    files = servers.ask(_server(origin), store.list)
    # What cannot be built from is refused now, not when all has been pulled.
    where = "" if origin.hub is None else f"hf://datasets/{origin.hub}/"
    listed = [(where + file.path, Path(file.path), file) for file in files]
    name_partitions(name, listed, origin.partition)
    if patterns := [*(origin.files or ()), *expand_addresses(origin.url or ())]:
        refuse_remote_output(f"sources.{name}", patterns, files, store.has)
    tokenizer, decode = None, origin.decode
    if decode is not None:
        tokenizer = _lock_tokenizer(decode.tokenizer, decode.revision, folder, servers)
    return LockedSource(
        origin=location_of(origin),
        revision=store.revision,
        files=files,
        tokenizer=tokenizer,
    )


def _lock_pool(replay: Replay, origin: Origin, servers: _Servers) -> LockedSource:
    """Lock a pool in the layout that it has; its origin stays the one that is declared."""
    assert replay.pool is not None
    commit, no_shards = None, None
    for tried in (origin, *archive_origins(replay.pool)):
        store = servers.ask(_server(origin), partial(open_store, tried, replay.folder, commit))
        commit = store.revision
        try:
            files = servers.ask(_server(origin), store.list)
        except NoMatchError as error:
            no_shards = no_shards or error
        else:
            return LockedSource(origin=location_of(origin), revision=store.revision, files=files)
    assert no_shards is not None
    raise InputError(
        f"{no_shards.message}; nor has it archives of text (.jsonl.tar.gz)", no_shards.hint
    )


def _lock_tokenizer(
    name: str, revision: str | None, folder: Path, servers: _Servers
) -> LockedTokenizer:
    def read() -> LockedTokenizer:
        commit = latest_commit(name) if revision is None and not is_here else revision
        digest = sha256_bytes(read_json(name, commit, folder))
        return LockedTokenizer(name=name, revision=commit, digest=digest)

    is_here = name == EMBEDDED or name.endswith(".json")
    return read() if is_here else servers.ask("hub", read)


def _algorithms(declared: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, str]]:
    """Yield each place in the mixture that names an algorithm, and the algorithm."""
    for name, value in declared.items():
        if name == "algorithm":
            yield where, value
        elif isinstance(value, dict):
            yield from _algorithms(value, f"{where}.{name}" if where else name)
