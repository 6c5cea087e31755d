"""Compare: the rows of two sides, or of one and a ledger, over a range -> what is not the same.

Both sides are read once, in blocks, side by side. Rows that are the same on both sides are not
digested: whether the rest are the same set in another order follows from the rest alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from pipeline.audit.verify.comparison import WindowResult
from pipeline.audit.verify.forward_rows import part_of
from pipeline.core.arrays import Int64Array, Uint8Array
from pipeline.core.progress import ReportProgress
from pipeline.core.ragged import Rows
from pipeline.dataset import (
    DIGEST_BYTES,
    ROWS_PER_NODE,
    Ledger,
    LedgerSpan,
    RowSource,
    join,
    multiset_of,
    root_of_multiset,
    row_digests,
)

_NO_ROWS = root_of_multiset(0)
MOST_EVIDENCE = 1 << 16
"""Most positions, and most digests, that are kept of what differs."""

Part = tuple[str, int, int]
"""A window's name, its first row, and one past its last."""


@dataclass(kw_only=True)
class Tally:
    """What was found so far."""

    windows: list[WindowResult] = field(default_factory=list)
    """Those that were compared."""
    num_differing: int = 0
    """How many rows are not the same on both sides."""
    differing: list[Int64Array] = field(default_factory=lambda: [np.empty(0, np.int64)])
    """Where they are."""
    digests_start: int = 0
    """The first of them."""
    ours: list[Uint8Array] = field(default_factory=lambda: [np.empty((0, DIGEST_BYTES), np.uint8)])
    """Digests from there on."""
    theirs: list[Uint8Array] = field(
        default_factory=lambda: [np.empty((0, DIGEST_BYTES), np.uint8)]
    )
    """Those of the other side."""
    excess: int = 0
    """The sum of our digests less that of theirs; as `multiset_of`, it counts modulo 2^256."""

    @property
    def same_multiset(self) -> bool:
        """Whether both sides have the same rows in some order."""
        return _same_multiset(self.excess)

    def add(self, row: int, ours: Uint8Array, theirs: Uint8Array) -> Int64Array:
        """Note the digests of rows from `row` on; return the positions that differ."""
        bad = row + np.flatnonzero((ours != theirs).any(axis=1))
        if self.num_differing == 0 and len(bad):
            self.digests_start = int(bad[0])
        if self.num_differing < MOST_EVIDENCE:
            self.differing.append(bad[: MOST_EVIDENCE - self.num_differing])
        self.num_differing += len(bad)
        room = self.digests_start + MOST_EVIDENCE - row
        if self.num_differing and room > 0:
            part = slice(max(self.digests_start - row, 0), room)
            self.ours.append(ours[part])
            self.theirs.append(theirs[part])
        return bad

    @property
    def collects(self) -> bool:
        """Whether digests of rows that are the same are wanted, too."""
        return self.num_differing > 0 and sum(map(len, self.ours)) < MOST_EVIDENCE


def compare_rows(
    ours: RowSource, theirs: RowSource, parts: list[Part], report: ReportProgress
) -> Tally:
    """Compare two sides row by row, part after part."""
    tally = Tally()
    total = sum(stop - start for _, start, stop in parts)
    done = 0
    for name, start, stop in parts:
        row, count, first, excess = start, 0, None, 0
        for one, other in beside(ours.read(start, stop), theirs.read(start, stop)):
            if tally.collects or not _is_same(one, other):
                digests = (
                    row_digests(one.values, one.offsets),
                    row_digests(other.values, other.offsets),
                )
                bad = tally.add(row, *digests)
                count += len(bad)
                first = int(bad[0]) if first is None and len(bad) else first
                excess += multiset_of(digests[0]) - multiset_of(digests[1])
            row += len(one)
            report("rows", done + row - start, total)
        done += stop - start
        tally.excess += excess
        tally.windows.append(
            WindowResult(
                name=name,
                start=start,
                stop=stop,
                same_multiset=_same_multiset(excess),
                num_differing=count,
                first_difference=first,
            )
        )
    return tally


def _same_multiset(excess: int) -> bool:
    """Tell by how much one sum of digests is above another whether both are of the same rows."""
    return root_of_multiset(excess) == _NO_ROWS


def _is_same(one: Rows, other: Rows) -> bool:
    return np.array_equal(one.offsets, other.offsets) and np.array_equal(one.values, other.values)


def beside(ours: Iterator[Rows], theirs: Iterator[Rows]) -> Iterator[tuple[Rows, Rows]]:
    """Yield blocks of two sides side by side, each pair of as many rows."""
    one = next(ours, None)
    other = next(theirs, None)
    while one is not None and other is not None:
        num = min(len(one), len(other))
        if num:
            yield part_of(one, 0, num), part_of(other, 0, num)
        one = part_of(one, num, len(one)) if num < len(one) else next(ours, None)
        other = part_of(other, num, len(other)) if num < len(other) else next(theirs, None)
    assert one is other, "two sides of one range are of as many rows"


@dataclass(frozen=True, kw_only=True, slots=True)
class Nodes:
    """Rows as a ledger sees them."""

    ledger: Ledger
    """Their nodes, as of a sequence that begins with them, and their sum."""
    multiset_roots: tuple[str, ...]
    """By part, the root of its rows in any order."""


def digest_rows(
    rows: RowSource, start: int, stop: int, parts: list[Part], report: ReportProgress
) -> Nodes:
    """Return the nodes of rows `start`, the first of a node, to `stop`, and the roots of parts.

    Parts are in order and do not overlap.
    """
    assert start % ROWS_PER_NODE == 0
    span = LedgerSpan(start_row=0)
    multisets = [0] * len(parts)
    row = start
    for block in rows.read(start, stop):
        digests = row_digests(block.values, block.offsets)
        span.add(digests)
        for number, (_, first, last) in enumerate(parts):
            inside = digests[max(first - row, 0) : max(last - row, 0)]
            if len(inside):
                multisets[number] += multiset_of(inside)
        row += len(block)
        report("rows", row - start, stop - start)
    assert row == stop
    return Nodes(ledger=join([span]), multiset_roots=tuple(map(root_of_multiset, multisets)))
