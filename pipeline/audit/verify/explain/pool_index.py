"""Known rows: which row of the output's pool is at each of some thousand positions of the target.

Rows of the same ids are one class, named by the first of them in the pool, so that a repetition is
no difference. A key is the first eight bytes of a digest: among 10^8 rows, two different ones share
them with a probability of 3 in 10,000.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.audit.verify.build_output import Output
from pipeline.audit.verify.comparison import Comparison, shared
from pipeline.core.arrays import BoolArray, Int64Array, Uint8Array, Uint32Array
from pipeline.core.ragged import Rows
from pipeline.dataset import RowSource, row_digests
from pipeline.order import View

Keys = NDArray[np.uint64]
UNKNOWN = -1
# Positions besides those that the comparison kept: at so many places, so many rows each.
_PLACES, _ROWS_AT_PLACE = 16, 256
# Of the rows that are kept with their ids, to see what they say: 16 MiB.
_SAMPLE_IDS = 4 << 20
_LARGEST_NARROW = 0xFFFF
# Another reading needs to find so much of what the compared one does not.
_CLEARLY = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """One way in which the target's rows may have been made from stored rows."""

    view: View
    max_seq_len: int
    """Most ids of a row under a view other than `stored`."""
    is_narrow: bool = False
    """Whether only the low 16 bits of ids are compared."""

    def keys(self, output: Output, stored: Rows) -> Keys:
        return self.read_keys(output.apply_view(stored, self.view, self.max_seq_len))

    def read_keys(self, rows: Rows) -> Keys:
        """Return the keys of rows as read: uint64 [num_rows]."""
        values = rows.values & np.uint32(_LARGEST_NARROW) if self.is_narrow else rows.values
        return keys_of(row_digests(values, rows.offsets))


def keys_of(digests: Uint8Array) -> Keys:
    """Return the key of each digest: uint64 [num_rows]. digests: uint8 [num_rows, 32]."""
    return np.ascontiguousarray(digests[:, :8]).view("<u8").reshape(-1).astype(np.uint64)


class PoolIndex:
    """The rows of the output's pool by key, under one reading."""

    def __init__(self, output: Output, reading: Reading) -> None:
        pool = output.pool_rows
        blocks = [reading.keys(output, rows) for rows in pool.read(0, pool.num_rows)]
        keys = np.concatenate([np.empty(0, np.uint64), *blocks])
        order = np.argsort(keys, kind="stable")
        firsts = np.flatnonzero(np.diff(keys[order], prepend=~keys[order[:1]]))
        counts = np.diff(np.append(firsts, len(keys)))
        self._keys = keys[order[firsts]]
        self._rows = order[firsts]
        self.reading = reading
        self.classes: Int64Array = np.empty(len(keys), np.int64)
        """int64 [num_samples], the class of each pool row: the first pool row of the same ids."""
        self.classes[order] = np.repeat(self._rows, counts)
        self.last: Int64Array = np.arange(len(keys))
        """int64 [num_samples], by class the last pool row of those ids."""
        self.last[self._rows] = order[firsts + counts - 1]

    def are_single(self, classes: Int64Array) -> BoolArray:
        """Tell of each class whether it has a single pool row; false for -1."""
        single: BoolArray = (classes != UNKNOWN) & (self.last[classes] == classes)
        return single

    def find(self, keys: Keys) -> Int64Array:
        """Return the class of each row, or -1: int64 [num_rows]."""
        if not len(self._keys):
            return np.full(len(keys), UNKNOWN)
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[places] == keys, self._rows[places], UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class TargetRows:
    """Rows of the target that were read, and the pool rows that they are."""

    positions: Int64Array
    """int64 [num_read], rising."""
    keys: Keys
    """uint64 [num_read]."""
    classes: Int64Array
    """int64 [num_read]; -1 for a row that is not in the pool."""
    sample: Rows
    """Some of these rows."""
    largest_id: int
    longest: int
    """Most ids of a row, among those that were read with their ids."""

    @property
    def unknown(self) -> Keys:
        unknown: Keys = self.keys[self.classes == UNKNOWN]
        return unknown

    def with_rows(self, positions: Int64Array, keys: Keys, index: PoolIndex) -> "TargetRows":
        """Return these rows and some others, whose ids are not kept."""
        every = np.concatenate([self.positions, positions])
        order = np.argsort(every)
        keys = np.concatenate([self.keys, keys])[order]
        return replace(self, positions=every[order], keys=keys, classes=index.find(keys))

    def unknown_sample(self, reading: Reading) -> list[Uint32Array]:
        """Return the ids of those rows of the sample that are not in the pool."""
        found = np.isin(reading.read_keys(self.sample), self.unknown)
        return [self.sample[row] for row in np.flatnonzero(found).tolist()]


@shared
def known_rows(comparison: Comparison) -> tuple[PoolIndex, TargetRows]:
    """Return both sides under the reading that finds most of the target's rows in the pool.

    The compared view is kept unless another finds clearly more; without a tokenizer none is tried.
    """
    output = comparison.output
    given = Reading(view=comparison.view, max_seq_len=output.max_seq_len)
    index = PoolIndex(output, given)
    best = index, _read_target(comparison, index)
    least = share = _share_known(best[1])
    readings = _other_readings(output, given, best[1])
    for reading in readings if output.tokenizer_problem is None else ():
        if share == 1:
            break
        index = PoolIndex(output, reading)
        if reading.is_narrow:
            rows = _read_target(comparison, index)
        else:
            rows = replace(best[1], classes=index.find(best[1].keys))
        known = _share_known(rows)
        # A few rows are the same under another reading by chance, as short ones often are.
        if known > share and known - least >= _CLEARLY * (1 - least):
            best, share = (index, rows), known
    return best


def _share_known(rows: TargetRows) -> float:
    return float(np.count_nonzero(rows.classes != UNKNOWN) / max(len(rows.keys), 1))


def _other_readings(output: Output, given: Reading, rows: TargetRows) -> Iterator[Reading]:
    views = sorted(output.known_views, key=lambda view: view != given.view)
    yield from (replace(given, view=view) for view in views[1:])
    if rows.longest != given.max_seq_len:
        changed = [view for view in views if view != "stored"]
        yield from (replace(given, view=view, max_seq_len=rows.longest) for view in changed)
    if rows.largest_id > _LARGEST_NARROW:
        yield from (replace(given, view=view, is_narrow=True) for view in views)


def _read_target(comparison: Comparison, index: PoolIndex) -> TargetRows:
    reading = index.reading
    key_by_position: dict[int, np.uint64] = {}
    if not reading.is_narrow:
        keys = keys_of(comparison.their_digests)
        start = comparison.digests_start
        key_by_position.update(zip(range(start, start + len(keys)), keys, strict=True))
    blocks = [Rows(np.empty(0, np.uint32), np.zeros(1, np.int64))]
    largest_id = longest = num_ids = 0
    for position, rows in _read_places(comparison):
        keys = reading.read_keys(rows)
        key_by_position.update(zip(range(position, position + len(rows)), keys, strict=True))
        largest_id = max(largest_id, int(rows.values.max(initial=0)))
        longest = max(longest, int(rows.lengths().max(initial=0)))
        num_ids += len(rows.values)
        if num_ids <= _SAMPLE_IDS:
            blocks.append(rows)
    positions = sorted(key_by_position)
    keys = np.array([key_by_position[position] for position in positions], np.uint64)
    return TargetRows(
        positions=np.array(positions, np.int64),
        keys=keys,
        classes=index.find(keys),
        sample=Rows.concat(blocks),
        largest_id=largest_id,
        longest=longest,
    )


def _read_places(comparison: Comparison) -> Iterator[tuple[int, Rows]]:
    """Yield rows with the position of their first, in blocks, from places at equal distances."""
    last = min(comparison.stop, comparison.their_num_rows)
    bounds = np.linspace(comparison.start, last, _PLACES + 1).astype(np.int64).tolist()
    for position, end in pairwise(bounds):
        for rows in target_rows(comparison).read(position, min(end, position + _ROWS_AT_PLACE)):
            yield position, rows
            position += len(rows)


def target_rows(comparison: Comparison) -> RowSource:
    assert comparison.theirs is not None
    return comparison.theirs
