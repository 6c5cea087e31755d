"""Clusters: documents that share a key -> one tree for each group, in bounded memory.

Enters: keys of documents, block by block. Leaves: in `parents`, for each document one of its group
that comes before it, or itself. Keys are scattered by their first bits to bucket files and each
bucket is sorted by itself, so memory is that of a bucket. A group's root is its first document,
whatever the blocks, the buckets and the order in which links are made.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.core.arrays import BoolArray, Int64Array, Uint64Array
from pipeline.core.compiled import compiled
from pipeline.core.errors import OutputError

# Bytes that sorting takes for each 8 bytes of keys: the bucket, its sorted copy, two orders.
_SORT_FACTOR: Final = 5
# Each holds a run of a block; more would be many small writes.
_MOST_BUCKETS: Final = 1024


def link_equal(
    parents: Int64Array,
    blocks: Iterable[tuple[Uint64Array, Int64Array]],
    num_keys: int,
    scratch: Path,
    memory_bytes: int,
) -> None:
    """Link documents whose keys are equal.

    blocks: keys, uint64 [n, width], well mixed in their first column, and documents, int64 [n];
    num_keys: about how many there are in all; scratch: where bucket files lie, of which none stay.
    """
    num_buckets = _num_buckets(num_keys, memory_bytes)
    width = 0
    for keys, documents in blocks:
        width = keys.shape[1]
        records = _sorted(np.concatenate([keys, documents[:, None].view(np.uint64)], axis=1))
        # Only the first of a group goes on, so that no key fills a bucket, however common it is.
        is_first = _link_runs(parents, records)
        _scatter(records[is_first], num_buckets, scratch)
    for bucket in range(num_buckets):
        path = _bucket_path(scratch, bucket)
        if path.exists():
            records = np.fromfile(path, np.uint64).reshape(-1, width + 1)
            path.unlink()
            _link_runs(parents, _sorted(records))


@contextmanager
def explained(scratch: Path) -> Iterator[None]:
    """Explain that the disk has no room for temporary files."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{scratch}: got {error.strerror}, expected room for the keys of all documents",
            "make room and run the same command again: finished work is kept",
        ) from error


def _num_buckets(num_keys: int, memory_bytes: int) -> int:
    # Of two words and a document, the widest there are.
    needed = num_keys * 3 * 8 * _SORT_FACTOR
    return min(max(1, -(-needed // memory_bytes)), _MOST_BUCKETS)


def _bucket_path(scratch: Path, bucket: int) -> Path:
    return scratch / f"{bucket:04d}.keys"


def _sorted(records: Uint64Array) -> Uint64Array:
    """Sort records by key, and within a key by document: they come in order of documents."""
    columns = [records[:, column] for column in range(records.shape[1] - 1)]
    return records[np.lexsort(columns[::-1])]


def _link_runs(parents: Int64Array, records: Uint64Array) -> BoolArray:
    """Link each record with the one before it where keys are equal; return which have none."""
    is_first = np.ones(len(records), np.bool_)
    is_first[1:] = (records[1:, :-1] != records[:-1, :-1]).any(axis=1)
    later = np.flatnonzero(~is_first)
    documents = records[:, -1].astype(np.int64)
    assert not len(documents) or 0 <= documents.min() <= documents.max() < len(parents)
    _link(parents, documents[later - 1], documents[later])
    return is_first


def _scatter(records: Uint64Array, num_buckets: int, scratch: Path) -> None:
    """Append sorted records to the files of their buckets, each a range of first words."""
    # The upper half is enough to share them out; the product stays below 64 bits.
    buckets = (records[:, 0] >> np.uint64(32)) * np.uint64(num_buckets) >> np.uint64(32)
    starts = np.searchsorted(buckets, np.arange(num_buckets + 1, dtype=np.uint64))
    with explained(scratch):
        for bucket in np.flatnonzero(np.diff(starts)).tolist():
            with _bucket_path(scratch, bucket).open("ab") as file:
                file.write(records[starts[bucket] : starts[bucket + 1]].tobytes())


@compiled
def _link(parents: Int64Array, ones: Int64Array, others: Int64Array) -> None:
    """Join the trees of pairs of documents; the smaller of two roots stays one."""
    for i in range(ones.size):
        one, other = ones[i], others[i]
        while one != other:
            # Walk up the later of the two; every step goes to an earlier document.
            if one < other:
                one, other = other, one
            parent = parents[one]
            if parent == one:
                parents[one] = other
                break
            parents[one] = parents[parent]
            one = parent
