"""Arrangement: the target's pool compared with the output's: the order of its parts, and edits.

An edit turns a stretch of the output's pool, its parts in the target's order, into one of the
target's: rows that are missing, added or made again, between two rows that both have.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.audit.verify.build_output import Output
from pipeline.audit.verify.comparison import Comparison, shared
from pipeline.audit.verify.explain.order_search import PlacedRows, find_order
from pipeline.audit.verify.explain.pool_index import UNKNOWN, PoolIndex, known_rows
from pipeline.core.arrays import Int64Array
from pipeline.dataset import TRAIN


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Consecutive parts of the output's pool: partitions or shards."""

    names: tuple[str, ...]
    bounds: Int64Array
    """int64 [num_parts + 1], the first row of each, and the number of all rows."""

    def of(self, rows: Int64Array) -> Int64Array:
        """Return the part that each row is in: int64 [num_rows]."""
        return np.searchsorted(self.bounds, rows, side="right") - 1

    def rows(self, part: int) -> Int64Array:
        return np.arange(self.bounds[part], self.bounds[part + 1])

    def name_row(self, row: int) -> str:
        """Name a row of the pool by its number in its part, from 0."""
        part = int(self.of(np.array([row]))[0])
        return f"row {row - int(self.bounds[part]):,} of {self.names[part]}"

    def name_rows(self, rows: list[int]) -> str:
        return f"{self.name_row(rows[0])} to {self.name_row(rows[-1])}"


def partitions_of(output: Output) -> Parts:
    """Return the partitions of the pool: shards of one folder that follow one another."""
    names = {
        record.folder: f"{source}/{record.partition}"
        for source, made in output.manifest.sources.items()
        for record in made.partitions
    }
    paths = (shard.path.parent.relative_to(output.folder) for shard in output.pool.shards)
    folders = [path.as_posix() for path in paths]
    firsts = [i for i, folder in enumerate(folders) if i == 0 or folder != folders[i - 1]]
    return _parts(output, firsts, [names.get(folders[first], folders[first]) for first in firsts])


def shards_of(output: Output) -> Parts:
    """Return the shards of the pool that have rows."""
    full = np.flatnonzero(output.pool.num_rows).tolist()
    paths = (output.pool.shards[shard].path for shard in full)
    folder = output.folder / TRAIN
    return _parts(output, full, [path.relative_to(folder).as_posix() for path in paths])


def _parts(output: Output, first_shards: list[int], names: Iterable[str]) -> Parts:
    pool = output.pool
    starts = (pool.ends - pool.num_rows)[first_shards]
    return Parts(names=tuple(names), bounds=np.append(starts, pool.num_rows.sum()))


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """The parts of the output's pool in the order of the target."""

    parts: Parts
    order: Int64Array
    """int64 [num_parts]; a part that the target lacks follows the one that it does in the pool."""

    @cached_property
    def row_of(self) -> Int64Array:
        """int64 [num_samples], the pool row at each place of the arranged pool."""
        rows = map(self.parts.rows, self.order.tolist())
        return np.concatenate([np.empty(0, np.int64), *rows])

    @property
    def is_ours(self) -> bool:
        return bool((np.diff(self.order) > 0).all())


@shared
def arrangement_of(comparison: Comparison) -> Arrangement | None:
    """Find the target's order of partitions, or else of shards; None where no order fits."""
    placed, index = find_order(comparison).placed, known_rows(comparison)[0]
    if placed is None:
        return None
    rows = placed.classes[_together(placed, np.flatnonzero(placed.classes != UNKNOWN))]
    partitions = partitions_of(comparison.output)
    for parts in (partitions, shards_of(comparison.output)):
        order = _order_of_parts(parts, rows, index.last[rows])
        if order is not None:
            return Arrangement(parts=parts, order=order)
    return Arrangement(parts=partitions, order=np.arange(len(partitions.names)))


def _together(placed: PlacedRows, some: Int64Array) -> Int64Array:
    """Return those of some rows that are as far from a neighbour in our pool as in theirs."""
    same = np.diff(placed.classes[some] - placed.places[some]) == 0
    kept = np.append(same, False) | np.insert(same, 0, False)
    return some[kept] if len(some) else some


def _order_of_parts(parts: Parts, rows: Int64Array, last: Int64Array) -> Int64Array | None:
    """Return the parts in the order of rows that follow one another, or None where they mingle.

    rows, last: int64 [n], the first and the last pool row with the ids of each.
    """
    # Repetitions within one partition say where it is as well as single rows do.
    inside = parts.of(rows) == parts.of(last)
    rows, is_single = rows[inside], (rows == last)[inside]
    part_of = parts.of(rows)
    is_first = np.diff(part_of, prepend=-1) != 0
    present = part_of[is_first]
    single = rows[is_single]
    falls = (np.diff(single) < 0) & (np.diff(parts.of(single)) == 0)
    if len(np.unique(present)) < len(present) or falls.any():
        return None
    # A part of which nothing was found stays behind the one that it follows in our pool.
    every = np.arange(len(parts.names))
    leads = np.maximum.accumulate(np.where(np.isin(every, present), every, -1))
    ranks = np.full(len(every), -1)
    ranks[present] = np.arange(len(present))
    return np.lexsort([every, np.where(leads < 0, -1, ranks[leads])])


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """A stretch of the arranged pool that differs in the target's."""

    first: int
    """Place in the arranged pool of its first row."""
    place: int
    """Place in the target's pool of its first row."""
    num_ours: int
    """Rows of the arranged pool; -1 and less where the target goes back and repeats some."""
    num_theirs: int
    """Rows of the target's pool."""
    unknown: Int64Array
    """int64, positions in the target's order of rows of it that are not in the pool."""
    moved: Int64Array
    """int64, positions in the target's order of rows of it that are elsewhere in the pool."""

    @property
    def num_missing(self) -> int:
        """How many rows the target lacks; negative where it has more."""
        return self.num_ours - self.num_theirs


def find_edits(
    placed: PlacedRows, index: PoolIndex, arrangement: Arrangement
) -> tuple[list[Edit], Int64Array]:
    """Return what turns the arranged pool into the target's, and the pool rows that both have."""
    num_ours = len(arrangement.row_of)
    rows = _follow(placed, index, arrangement)
    followed = np.flatnonzero(rows != UNKNOWN)
    # Before the first rows and behind the last, both pools have an end.
    ends = [-1, *placed.places[followed].tolist(), placed.num_samples]
    our_ends = [-1, *rows[followed].tolist(), num_ours]
    bounds = [-1, *followed.tolist(), len(rows)]
    edits = []
    for before in range(len(bounds) - 1):
        between = slice(bounds[before] + 1, bounds[before + 1])
        num_theirs = ends[before + 1] - ends[before] - 1
        num_between = our_ends[before + 1] - our_ends[before] - 1
        if num_theirs == num_between and between.start == between.stop:
            continue
        classes, positions = placed.classes[between], placed.positions[between]
        edits.append(
            Edit(
                first=our_ends[before] + 1,
                place=ends[before] + 1,
                num_ours=num_between,
                num_theirs=num_theirs,
                unknown=np.sort(positions[classes == UNKNOWN]),
                moved=np.sort(positions[classes != UNKNOWN]),
            )
        )
    return edits, arrangement.row_of[rows[followed]]


def _follow(placed: PlacedRows, index: PoolIndex, arrangement: Arrangement) -> Int64Array:
    """Return the arranged place of each row that continues an anchor before or after it, or -1.

    Anchors are rows that the pool has once, as far from a neighbour in our pool as in theirs.
    """
    row_of = arrangement.row_of
    arranged = index.classes[row_of]
    place_of = np.empty(len(row_of), np.int64)
    place_of[row_of] = np.arange(len(row_of))
    anchors = _together(placed, np.flatnonzero(index.are_single(placed.classes)))
    shifts = place_of[placed.classes[anchors]] - placed.places[anchors]
    shifts = np.array([0, *shifts, len(arranged) - placed.num_samples])
    before = np.searchsorted(anchors, np.arange(len(placed.places)), side="right")
    found = np.full(len(placed.places), UNKNOWN)
    for near in (before + 1, before):
        places = placed.places + shifts[near]
        inside = (places >= 0) & (places < len(arranged))
        same = inside & (arranged[np.where(inside, places, 0)] == placed.classes)
        found[same] = places[same]
    return found
