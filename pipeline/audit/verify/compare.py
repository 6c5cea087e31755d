"""Compare: the rows of an output and of a target over a scope -> which rows differ.

Both sides are read once, in blocks. Rows are compared with rows, and digested only where they
differ; a ledger is compared by nodes of 1,024 rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.audit.verify.comparison import Comparison, WindowResult
from pipeline.audit.verify.scope import Alignment, Part, Range, Scope
from pipeline.core.arrays import Int64Array, Uint8Array
from pipeline.core.errors import NotFoundError
from pipeline.core.progress import ReportProgress, Work
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
_NO_DIGESTS = np.empty((0, DIGEST_BYTES), np.uint8)
# Most positions, and most digests, that are kept of what differs.
MOST_EVIDENCE = 1 << 16


def compare(scope: Scope, alignment: Alignment) -> Comparison:
    """Compare an output with a target. Raises: NotFoundError when a side lacks requested rows."""
    by_nodes = scope.target.ledger is not None
    result = (_compare_by_nodes if by_nodes else _compare_by_rows)(scope, alignment)
    return Comparison(
        output=scope.output,
        target=scope.target,
        theirs=None if by_nodes else scope.target.rows_under(alignment.view),
        of=alignment.of,
        view=alignment.view,
        why_view=alignment.why,
        **result,
    )


def _compare_by_rows(scope: Scope, alignment: Alignment) -> dict[str, Any]:
    ours = alignment.rows(scope.output)
    theirs = scope.reader or scope.target.rows_under(alignment.view)
    assert theirs is not None
    start, stop = scope.bounds(alignment.of, ours.num_rows)
    # Of a part, reading finds out whether the target has it: to count all its rows may take a
    # request a file.
    common = min(stop, theirs.num_rows) if scope.is_whole else stop
    tally = compare_rows(ours, theirs, scope.parts(alignment.of, start, common), scope.show)
    their_num_rows = theirs.num_rows if scope.is_whole or tally.num_differing else stop
    return {
        "start": start,
        "stop": common,
        "num_rows": stop if scope.is_whole else ours.num_rows,
        "their_num_rows": their_num_rows,
        "num_missing": max(their_num_rows, stop) - common if scope.is_whole else 0,
        "same_multiset": _same_multiset(tally.excess),
        "windows": tuple(tally.windows),
        "rows_per_unit": 1,
        "num_differing": tally.num_differing,
        "differing": np.concatenate(tally.differing),
        "digests_start": tally.digests_start,
        "our_digests": np.concatenate(tally.ours),
        "their_digests": np.concatenate(tally.theirs),
    }


@dataclass(kw_only=True)
class Tally:
    windows: list[WindowResult] = field(default_factory=list)
    num_differing: int = 0
    differing: list[Int64Array] = field(default_factory=lambda: [np.empty(0, np.int64)])
    digests_start: int = 0
    """The first row that differs; `ours` and `theirs` are digests from there on."""
    ours: list[Uint8Array] = field(default_factory=lambda: [_NO_DIGESTS])
    theirs: list[Uint8Array] = field(default_factory=lambda: [_NO_DIGESTS])
    excess: int = 0
    """The difference of the two sums of digests, modulo 2^256."""

    @property
    def wants_digests(self) -> bool:
        """Whether rows that are the same are digested, too."""
        return self.num_differing > 0 and sum(map(len, self.ours)) < MOST_EVIDENCE

    def add(self, row: int, ours: Uint8Array, theirs: Uint8Array) -> Int64Array:
        """Add the digests of rows from `row` on; return the positions that differ."""
        bad = row + np.flatnonzero((ours != theirs).any(axis=1))
        if self.num_differing == 0 and len(bad):
            self.digests_start = int(bad[0])
        if self.num_differing < MOST_EVIDENCE:
            self.differing.append(bad[: MOST_EVIDENCE - self.num_differing])
        self.num_differing += len(bad)
        self.excess += multiset_of(ours) - multiset_of(theirs)
        room = self.digests_start + MOST_EVIDENCE - row
        if self.num_differing and room > 0:
            part = slice(max(self.digests_start - row, 0), room)
            self.ours.append(ours[part])
            self.theirs.append(theirs[part])
        return bad


def compare_rows(
    ours: RowSource, theirs: RowSource, parts: list[Part], show: ReportProgress
) -> Tally:
    tally = Tally()
    total = sum(stop - start for _, start, stop in parts)
    done = num_tokens = 0
    for name, start, stop in parts:
        row, excess = start, tally.excess
        bad = [np.empty(0, np.int64)]
        for one, other in _paired(ours.read(start, stop), theirs.read(start, stop)):
            if tally.wants_digests or not _is_same(one, other):
                digests = (row_digests(side.values, side.offsets) for side in (one, other))
                bad.append(tally.add(row, *digests))
            row += len(one)
            num_tokens += len(one.values)
            work = Work(unit="rows", num_tokens=num_tokens)
            show("rows", done + row - start, total, work)
        done += stop - start
        differing = np.concatenate(bad)
        tally.windows.append(
            WindowResult(
                name=name,
                start=start,
                stop=stop,
                same_multiset=_same_multiset(tally.excess - excess),
                num_differing=len(differing),
                first_difference=int(differing[0]) if len(differing) else None,
            )
        )
    return tally


def _same_multiset(excess: int) -> bool:
    return root_of_multiset(excess) == _NO_ROWS


def _is_same(one: Rows, other: Rows) -> bool:
    return np.array_equal(one.offsets, other.offsets) and np.array_equal(one.values, other.values)


def _paired(ours: Iterator[Rows], theirs: Iterator[Rows]) -> Iterator[tuple[Rows, Rows]]:
    """Yield blocks of two sides in pairs of as many rows."""
    one, other = next(ours, None), next(theirs, None)
    while one is not None and other is not None:
        num = min(len(one), len(other))
        if num:
            yield one.slice(0, num), other.slice(0, num)
        one = one.slice(num, len(one)) if num < len(one) else next(ours, None)
        other = other.slice(num, len(other)) if num < len(other) else next(theirs, None)
    assert one is other, "both sides of a range have as many rows"


def _compare_by_nodes(scope: Scope, alignment: Alignment) -> dict[str, Any]:
    ledger = scope.target.ledger
    assert ledger is not None
    ours = alignment.rows(scope.output)
    start, stop = scope.bounds(alignment.of, ours.num_rows)
    first, last = _widened(start, stop, ours.num_rows, ledger.num_rows)
    if last < stop and not scope.is_whole:
        raise NotFoundError(
            f"{scope.target.what}: has {ledger.num_rows:,} rows in nodes of {ROWS_PER_NODE:,}, "
            f"of which rows {last:,}:{stop:,} cannot be compared with the {ours.num_rows:,} of "
            f"{scope.output.folder}",
            f"choose rows below {last:,}",
        )
    parts = scope.parts(alignment.of, first, last)
    made, our_roots = digest_rows(ours, first, last, parts, scope.show)
    theirs = ledger.nodes[first // ROWS_PER_NODE :][: len(made.nodes)]
    bad = np.flatnonzero((made.nodes != theirs).any(axis=1)) * ROWS_PER_NODE + first
    roots = {(one.name, one.start, one.stop): one.multiset_root for one in scope.target.windows}
    is_all = first == 0 and last == ours.num_rows == ledger.num_rows
    notes = []
    if scope.requested is not None and (start, stop) != (first, last):
        notes.append(
            f"rows {start:,}:{stop:,} became {first:,}:{last:,}: a manifest keeps one digest for "
            f"every {ROWS_PER_NODE:,} rows"
        )
    if scope.requested is None and last < min(stop, ledger.num_rows):
        notes.append(
            f"rows {last:,}:{stop:,} were not compared: the manifest's digest of them is one of "
            "more rows"
        )
    return {
        "start": first,
        "stop": last,
        "num_rows": ours.num_rows,
        "their_num_rows": ledger.num_rows,
        "num_missing": max(ledger.num_rows, stop) - last if scope.is_whole else 0,
        "same_multiset": made.multiset == ledger.multiset if is_all else not len(bad) or None,
        "windows": tuple(
            _node_result(part, bad, last, our_root, roots.get(part))
            for part, our_root in zip(parts, our_roots, strict=True)
        ),
        "rows_per_unit": ROWS_PER_NODE,
        "num_differing": int((np.minimum(bad + ROWS_PER_NODE, last) - bad).sum()),
        "differing": bad[:MOST_EVIDENCE],
        "digests_start": first,
        "our_digests": _NO_DIGESTS,
        "their_digests": _NO_DIGESTS,
        "notes": tuple(notes),
    }


def _widened(start: int, stop: int, num_rows: int, their_num_rows: int) -> Range:
    """Widen a range to nodes that both sides have whole; only the ledger may end within one."""
    common = min(num_rows, their_num_rows)
    if common < their_num_rows:
        common = common // ROWS_PER_NODE * ROWS_PER_NODE
    first = start // ROWS_PER_NODE * ROWS_PER_NODE
    last = -(-stop // ROWS_PER_NODE) * ROWS_PER_NODE
    return min(first, common), min(last, common)


def _node_result(
    part: Part, bad: Int64Array, last: int, our_root: str, their_root: str | None
) -> WindowResult:
    """Return the result for a part by the nodes that differ, and by its roots if known."""
    name, start, stop = part
    starts = np.maximum(bad, start)
    counts = np.minimum(np.minimum(bad + ROWS_PER_NODE, last), stop) - starts
    starts, counts = starts[counts > 0], counts[counts > 0]
    same_multiset = None if their_root is None else our_root == their_root
    return WindowResult(
        name=name,
        start=start,
        stop=stop,
        same_multiset=same_multiset if len(starts) else True,
        num_differing=int(counts.sum()),
        first_difference=int(starts[0]) if len(starts) else None,
    )


def digest_rows(
    rows: RowSource, start: int, stop: int, parts: list[Part], show: ReportProgress
) -> tuple[Ledger, list[str]]:
    """Return the ledger of rows `start`, a node's first, to `stop`, and the roots of parts."""
    assert start % ROWS_PER_NODE == 0
    span = LedgerSpan(start_row=0)
    multisets = [0] * len(parts)
    row, num_tokens = start, 0
    for block in rows.read(start, stop):
        digests = row_digests(block.values, block.offsets)
        span.add(digests)
        for number, (_, first, last) in enumerate(parts):
            inside = digests[max(first - row, 0) : max(last - row, 0)]
            if len(inside):
                multisets[number] += multiset_of(inside)
        row += len(block)
        num_tokens += len(block.values)
        show("rows", row - start, stop - start, Work(unit="rows", num_tokens=num_tokens))
    assert row == stop
    return join([span]), [root_of_multiset(one) for one in multisets]
