"""What their pool is beside ours: the order of its parts, rows that only one has, rows remade.

Enters: places in their pool with the class of our rows that is at each. Leaves: the order of their
partitions, and edits, which turn our pool in that order into theirs. An edit lies between two rows
that both have; where few rows were read, so do rows that are the same.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.audit.verify.comparison import Output
from pipeline.audit.verify.explain.known_rows import UNKNOWN, OurRows
from pipeline.audit.verify.explain.order_search import Placed
from pipeline.core.arrays import Int64Array
from pipeline.dataset import TRAIN
from pipeline.dataset.mds import Pool


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Consecutive parts of our pool."""

    names: tuple[str, ...]
    """What a person calls each."""
    bounds: Int64Array
    """int64 [num_parts + 1], the first row of each, and the number of all rows."""

    def of(self, rows: Int64Array) -> Int64Array:
        """Return the part that each row is in: int64 [num_rows]."""
        return np.searchsorted(self.bounds, rows, side="right") - 1

    def rows(self, part: int) -> Int64Array:
        """Return the rows of a part."""
        return np.arange(self.bounds[part], self.bounds[part + 1])

    def name_row(self, row: int) -> str:
        """Say of a row of the pool which it is of its part, from 0."""
        part = int(self.of(np.array([row]))[0])
        return f"row {row - int(self.bounds[part]):,} of {self.names[part]}"


def partitions_of(output: Output) -> Parts:
    """Return the partitions of our pool: shards of one folder that follow one another."""
    names = {
        record.folder: f"{source}/{record.partition}"
        for source, made in output.manifest.sources.items()
        for record in made.partitions
    }
    folders = [_relative(output, shard.path.parent) for shard in output.pool.shards]
    firsts = [i for i, folder in enumerate(folders) if i == 0 or folder != folders[i - 1]]
    starts = (output.pool.ends - output.pool.num_rows)[firsts]
    return Parts(
        names=tuple(names.get(folders[first], folders[first]) for first in firsts),
        bounds=np.append(starts, output.pool.num_rows.sum()),
    )


def shards_of(output: Output) -> Parts:
    """Return the shards of our pool, those without rows left out."""
    pool: Pool = output.pool
    full = np.flatnonzero(pool.num_rows)
    names = [_relative(output, pool.shards[shard].path) for shard in full.tolist()]
    return Parts(
        names=tuple(name.removeprefix(f"{TRAIN}/") for name in names),
        bounds=np.append((pool.ends - pool.num_rows)[full], pool.num_rows.sum()),
    )


def _relative(output: Output, path: Path) -> str:
    return path.relative_to(output.folder).as_posix()


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """The parts of our pool in their order."""

    parts: Parts
    """The parts."""
    order: Int64Array
    """int64 [num_parts], the parts as theirs has them; one that theirs lacks follows its own."""
    row_of: Int64Array
    """int64 [num_samples], our row at each place of the arranged pool."""

    @property
    def is_ours(self) -> bool:
        """Whether theirs has the parts in our order."""
        return bool((np.diff(self.order) > 0).all())


def arrange(output: Output, placed: Placed, ours: OurRows) -> Arrangement:
    """Find their order of our partitions, or else of our shards."""
    together = _together(placed, np.flatnonzero(placed.classes != UNKNOWN))
    rows = placed.classes[together]
    for parts in (partitions_of(output), shards_of(output)):
        found = _order_of_parts(parts, rows, ours.last[rows])
        if found is not None:
            break
    else:
        parts = partitions_of(output)
        found = np.arange(len(parts.names))
    row_of = np.concatenate([np.empty(0, np.int64), *map(parts.rows, found.tolist())])
    return Arrangement(parts=parts, order=found, row_of=row_of)


def _anchors(placed: Placed, ours: OurRows) -> Int64Array:
    """Return indices of what was read that lie as far from a neighbour in ours as in theirs."""
    return _together(placed, np.flatnonzero(ours.are_single(placed.classes)))


def _together(placed: Placed, some: Int64Array) -> Int64Array:
    """Return those of what was read that lie as far from a neighbour in ours as in theirs."""
    same = np.diff(placed.classes[some] - placed.places[some]) == 0
    kept = np.append(same, False) | np.insert(same, 0, False)
    return some[kept] if len(some) else some


def _order_of_parts(parts: Parts, rows: Int64Array, last: Int64Array) -> Int64Array | None:
    """Return the parts in the order of rows that follow one another, or None where they mingle.

    rows, last: int64 [n], the first and the last row of our pool of the content of each.
    """
    # Repetitions of one partition tell where it is as well as single rows do.
    inside = parts.of(rows) == parts.of(last)
    rows, is_single = rows[inside], (rows == last)[inside]
    part_of = parts.of(rows)
    is_first = np.diff(part_of, prepend=-1) != 0
    present = part_of[is_first]
    single = rows[is_single]
    falls = (np.diff(single) < 0) & (np.diff(parts.of(single)) == 0)
    if len(np.unique(present)) < len(present) or falls.any():
        return None
    # A part of which nothing was found stays behind the one that it follows in ours.
    every = np.arange(len(parts.names))
    leads = np.full(len(every), -1)
    leads[present] = present
    leads = np.maximum.accumulate(leads)
    ranks = np.full(len(every), -1)
    ranks[present] = np.arange(len(present))
    return np.lexsort([every, np.where(leads < 0, -1, ranks[leads])])


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """A stretch of our pool, as arranged, that theirs has otherwise."""

    first: int
    """Place in our arranged pool of its first row."""
    place: int
    """Place in their pool of its first row."""
    num_ours: int
    """How many rows ours has there; -1 and less where theirs goes back and repeats some."""
    num_theirs: int
    """How many rows theirs has there."""
    unknown: Int64Array
    """int64, positions in their order of rows of it that are not in our pool."""
    moved: Int64Array
    """int64, positions in their order of rows of it that are elsewhere in our pool."""

    @property
    def num_missing(self) -> int:
        """How many more rows ours has; negative where theirs has more."""
        return self.num_ours - self.num_theirs


def find_edits(
    placed: Placed, ours: OurRows, arrangement: Arrangement
) -> tuple[list[Edit], Int64Array]:
    """Return what turns our arranged pool into theirs, and the rows of ours that both have."""
    num_ours = len(arrangement.row_of)
    place_of = np.empty(num_ours, np.int64)
    place_of[arrangement.row_of] = np.arange(num_ours)
    arranged = ours.classes[arrangement.row_of]
    rows = _follow(placed, _anchors(placed, ours), arranged, place_of)
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


def _follow(
    placed: Placed, anchors: Int64Array, arranged: Int64Array, place_of: Int64Array
) -> Int64Array:
    """Return the arranged place of each row that goes on as the anchor before or after it, or -1.

    arranged: int64 [num_samples], the class at each place; place_of: int64 [num_samples], by row.
    """
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
