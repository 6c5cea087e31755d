"""Archive pool: a published pool whose shards lie as archives of text -> a mixture that makes them.

Each archive is the partition of its name, each line a row; a build then does all else, in the order
of the pool's index where one lies there.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Unpack

from pipeline.config import RAW, SOURCE_NAME, ChunkSpec, Mixture, Origin, PoolSpec, Replay, Source
from pipeline.core.errors import InputError
from pipeline.core.progress import ReportProgress
from pipeline.dataset import TRAIN, Manifest, PartialManifest
from pipeline.dataset.mds import INDEX_NAME, IndexEntry, read_index
from pipeline.runner.build_alone import build_alone
from pipeline.runner.build_options import BuildOptions
from pipeline.runner.run import build
from pipeline.sources import (
    ARCHIVE,
    POOL,
    Lock,
    LockedSource,
    PoolLayout,
    check_file,
    locate,
    location_of,
    plan_download,
    pull,
)
from pipeline.storage import StoredFile

_MOST_NAMED = 5
_LOG = logging.getLogger(__name__)


def replay_archives(
    replay: Replay,
    out: Path,
    *,
    lock: Lock,
    **options: Unpack[BuildOptions],
) -> Manifest:
    """Make a pool of archives and write its rows in order; return the manifest, as `build` does.

    Without an index the partitions are sorted, and a warning says so. One warns, too, of a pool
    that has other rows than its index says.

    Raises: as `build` and `archive_mixture`.
    """
    raw = options.get("raw", RAW)
    mixture, parts = _prepare(replay, lock, raw, options["report"])
    layout = PoolLayout.of(lock.sources[POOL])
    if mixture.order.listing is None:
        _LOG.warning("warning: pool: %s", layout.words)
    manifest = build(mixture, out, lock=parts, **options)
    if layout.index is not None:
        made = read_index(out / TRAIN / INDEX_NAME)
        published = read_index(locate(raw, replay.folder, lock.sources[POOL], layout.index))
        if (difference := compare_indexes(made, published)) is not None:
            _LOG.warning("warning: pool: %s", difference)
    return manifest


def archives_alone(
    replay: Replay,
    partitions: Sequence[str],
    out: Path,
    *,
    lock: Lock,
    **options: Unpack[BuildOptions],
) -> PartialManifest:
    """Make some partitions of a pool of archives; return their record, as `build_alone` does.

    Raises: as `build_alone` and `archive_mixture`.
    """
    mixture, parts = _prepare(replay, lock, options.get("raw", RAW), options["report"])
    return build_alone(mixture, partitions, out, lock=parts, **options)


def _prepare(replay: Replay, lock: Lock, raw: Path, report: ReportProgress) -> tuple[Mixture, Lock]:
    """Pull the index of a pool of archives, if it has one; return `archive_mixture`."""
    locked, index = lock.sources[POOL], PoolLayout.of(lock.sources[POOL]).index
    if index is not None:
        alone = replace(lock, sources={POOL: replace(locked, files=(index,))})
        pull(plan_download(alone, replay.folder, raw), report)
        path = locate(raw, replay.folder, locked, index)
        check_file(path, index, is_local=locked.origin.kind == "path")
    return archive_mixture(replay, lock, raw)


def archive_mixture(replay: Replay, lock: Lock, raw: Path) -> tuple[Mixture, Lock]:
    """Return the mixture that makes a pool of archives and puts it in order, and its lock.

    raw: the folder of pulled files, where the pool's index is.

    Raises: InputError for archives that do not lie as `source/name.jsonl.tar.gz`.
    """
    assert replay.pool is not None
    assert replay.name is not None
    locked, order = lock.sources[POOL], replay.order
    layout = PoolLayout.of(locked)
    if layout.index is not None and order.listing is None:
        index = locate(raw, replay.folder, locked, layout.index).absolute()
        order = replace(order, partitions="listed", listing=str(index))
    base, by_source = _by_source(layout.archives)
    sources = {name: _source(replay.pool, base, name) for name in sorted(by_source)}
    mixture = Mixture(
        name=replay.name,
        phase=replay.phase,
        tokenizer=replay.tokenizer,
        chunk=ChunkSpec(algorithm="ettin-line-v1", size=order.max_seq_len),
        sources=tuple(sources.values()),
        order=order,
        shards=replay.shards,
        overrides=replay.overrides,
        folder=replay.folder,
    )
    parts = {
        name: LockedSource(
            origin=location_of(source.origin),
            revision=locked.revision,
            files=tuple(by_source[name]),
        )
        for name, source in sources.items()
    }
    return mixture, replace(lock, sources=parts)


def _by_source(
    archives: Sequence[StoredFile],
) -> tuple[PurePosixPath, Mapping[str, list[StoredFile]]]:
    """Return the folder that the folders of sources lie in, and the archives of each source."""
    by_source: defaultdict[str, list[StoredFile]] = defaultdict(list)
    bases = {PurePosixPath(file.path).parent.parent for file in archives}
    for file in archives:
        source = PurePosixPath(file.path).parent.name
        if len(bases) > 1 or not SOURCE_NAME.matches(source):
            raise InputError(
                f"pool: got the archive {file.path}, expected all archives as"
                f" source/name{ARCHIVE} in one folder",
                "name that folder with pool.folder, or with pool.path",
            )
        by_source[source].append(file)
    return bases.pop(), by_source


def _source(pool: PoolSpec, base: PurePosixPath, name: str) -> Source:
    pattern = (base / name / f"*{ARCHIVE}").as_posix()
    if pool.hub is None:
        return Source(name=name, origin=Origin(path=(pattern,)))
    return Source(name=name, origin=Origin(hub=pool.hub, revision=pool.revision, files=(pattern,)))


def compare_indexes(made: Sequence[IndexEntry], published: Sequence[IndexEntry]) -> str | None:
    """Say in which partitions a pool that was made has other rows than the published one. Pure."""
    ours, theirs = _num_rows(made), _num_rows(published)
    others = [name for name in theirs if ours[name] != theirs[name]]
    if not others:
        return None
    named = "; ".join(
        f"{name} has {ours[name]:,} rows, the index says {theirs[name]:,}"
        for name in others[:_MOST_NAMED]
    )
    more = f"; and {len(others) - _MOST_NAMED:,} more" if len(others) > _MOST_NAMED else ""
    return (
        f"the archives are not the partitions that {INDEX_NAME} was written for, so this is not the"
        f" published order: {named}{more}"
    )


def _num_rows(entries: Sequence[IndexEntry]) -> Counter[str]:
    """Return the rows of each partition."""
    counts: Counter[str] = Counter()
    for entry in entries:
        counts[PurePosixPath(entry["raw_data"]["basename"]).parent.as_posix()] += entry["samples"]
    return counts
