"""The layouts of a published pool: MDS shards under an index, or archives of texts of chunks.

MDS are taken where there are any, since they are the rows themselves.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.config import Origin, PoolSpec
from pipeline.sources.lock.lock import LockedSource
from pipeline.sources.partitions import ARCHIVE
from pipeline.storage import StoredFile

_INDEX = "index.json"
# Archives were published at the top of a repository whose shards were staged in this folder.
_STAGED = "train"


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolLayout:
    """What a locked pool is made of."""

    archives: tuple[StoredFile, ...]
    """Archives of JSON lines; none where it has MDS shards."""
    index: StoredFile | None
    """The index that gives the order of its partitions."""
    num_bytes: int

    @classmethod
    def of(cls, locked: LockedSource) -> "PoolLayout":
        return cls(
            archives=tuple(file for file in locked.files if file.path.endswith(ARCHIVE)),
            # That of the whole pool lies above those of partitions.
            index=min(
                (file for file in locked.files if PurePosixPath(file.path).name == _INDEX),
                key=lambda file: file.path.count("/"),
                default=None,
            ),
            num_bytes=locked.num_bytes,
        )

    @property
    def words(self) -> str:
        """Say what was found, and what cannot be done with it."""
        if not self.archives:
            return "MDS shards with an index"
        found = f"{len(self.archives):,} archives of text"
        if self.index is not None:
            return f"{found} with an index, whose partitions are made and put in its order"
        return (
            f"{found} without an index: the order cannot be replayed, and partitions are sorted by"
            " name; compare the rows as a multiset (verify --against), or partitions with facts"
            " (attest), or name a listing (order.partitions, order.listing)"
        )


def pool_origin(pool: PoolSpec) -> Origin:
    """Return the origin of a pool of MDS shards, by which its lock is known. Pure."""
    folder = _folder(pool)
    # Beside its shards, and the one index that names them, a pool has statistics that none reads.
    return _origin(pool, f"{folder}/{_INDEX}", f"{folder}/**/*.mds*")


def archive_origins(pool: PoolSpec) -> Iterator[Origin]:
    """Yield the origins of a pool of archives, the likeliest first. Pure."""
    folder = _folder(pool)
    archives = [f"{folder}/**/*{ARCHIVE}"]
    indexes = [f"{folder}/{_INDEX}"]
    if pool.hub is not None and folder == _STAGED:
        archives.append(f"*/*{ARCHIVE}")
        indexes.append(_INDEX)
    for pattern in archives:
        for index in indexes:
            yield _origin(pool, index, pattern)
        yield _origin(pool, pattern)


def _folder(pool: PoolSpec) -> str:
    folder = pool.path if pool.hub is None else pool.folder
    assert folder is not None
    return folder


def _origin(pool: PoolSpec, *files: str) -> Origin:
    if pool.hub is None:
        return Origin(path=files)
    return Origin(hub=pool.hub, revision=pool.revision, files=files)
