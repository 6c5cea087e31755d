"""Clusters: documents that share a key -> one tree per group, in bounded memory.

`parents` holds for each document an earlier one of its group, or itself; the root is the first of
the group. Keys are scattered by their first bits to bucket files that are sorted one at a time.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.core.arrays import BoolArray, Int64Array, Uint64Array
from pipeline.core.compiled import compiled
from pipeline.core.errors import OutputError

# Memory of sorting, in bucket sizes: the bucket, its sorted copy, two index arrays.
_SORT_FACTOR: Final = 5
# Every block writes to every bucket; more would be many small writes.
_MOST_BUCKETS: Final = 1024


def link_equal(
    parents: Int64Array,
    blocks: Iterable[tuple[Uint64Array, Int64Array]],
    num_keys: int,
    scratch: Path,
    memory_bytes: int,
) -> None:
    """Link documents whose keys are equal.

    blocks: keys, uint64 [n, width], uniform in their first column, and documents, int64 [n];
    num_keys: about how many keys there are in all; scratch: the folder for temporary bucket files.
    """
    # At most two words of key and the document.
    needed = num_keys * 3 * 8 * _SORT_FACTOR
    num_buckets = min(max(1, -(-needed // max(memory_bytes, 1))), _MOST_BUCKETS)
    paths = [scratch / f"{bucket:04d}.keys" for bucket in range(num_buckets)]
    width = 0
    for keys, documents in blocks:
        width = keys.shape[1]
        records = _sorted(np.concatenate([keys, documents[:, None].view(np.uint64)], axis=1))
        # Only the first of a group goes on, so that no common key fills a bucket.
        is_first = _link_runs(parents, records)
        _scatter(records[is_first], paths)
    for path in paths:
        if path.exists():
            records = np.fromfile(path, np.uint64).reshape(-1, width + 1)
            path.unlink()
            _link_runs(parents, _sorted(records))


@contextmanager
def explained(scratch: Path) -> Iterator[None]:
    """Turn an OSError of temporary files into an OutputError with a hint."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{scratch}: got {error.strerror}, expected room for the keys of all documents",
            "make room and run the same command again: finished work is kept",
        ) from error


def _sorted(records: Uint64Array) -> Uint64Array:
    """Sort records by key, stably, so that documents stay in order within a key."""
    columns = [records[:, column] for column in range(records.shape[1] - 1)]
    return records[np.lexsort(columns[::-1])]


def _link_runs(parents: Int64Array, records: Uint64Array) -> BoolArray:
    """Link each record to an equal key before it; return which records are first of their key."""
    is_first = np.ones(len(records), np.bool_)
    is_first[1:] = (records[1:, :-1] != records[:-1, :-1]).any(axis=1)
    later = np.flatnonzero(~is_first)
    documents = records[:, -1].astype(np.int64)
    assert not len(documents) or 0 <= documents.min() <= documents.max() < len(parents)
    _link(parents, documents[later - 1], documents[later])
    return is_first


def _scatter(records: Uint64Array, paths: list[Path]) -> None:
    """Append sorted records to the bucket files, each of a range of first words."""
    # The upper half suffices, and the product fits 64 bits.
    buckets = (records[:, 0] >> np.uint64(32)) * np.uint64(len(paths)) >> np.uint64(32)
    starts = np.searchsorted(buckets, np.arange(len(paths) + 1, dtype=np.uint64))
    with explained(paths[0].parent):
        for bucket in np.flatnonzero(np.diff(starts)).tolist():
            with paths[bucket].open("ab") as file:
                file.write(records[starts[bucket] : starts[bucket + 1]].tobytes())


@compiled
def _link(parents: Int64Array, ones: Int64Array, others: Int64Array) -> None:
    """Join the trees of pairs of documents under the smaller root."""
    for i in range(ones.size):
        one, other = ones[i], others[i]
        while one != other:
            # Go up from the later one; every step leads to an earlier document.
            if one < other:
                one, other = other, one
            parent = parents[one]
            if parent == one:
                parents[one] = other
                break
            parents[one] = parents[parent]
            one = parent
