"""By nodes: our rows and the other side's ledger -> which nodes of 1,024 rows differ."""

from collections.abc import Iterator

import numpy as np

from pipeline.audit.verify.alignment import Alignment
from pipeline.audit.verify.compare import MOST_EVIDENCE, Part, digest_rows
from pipeline.audit.verify.comparison import Comparison, WindowResult
from pipeline.audit.verify.scope import Range, Scope, parts_of
from pipeline.core.arrays import Int64Array
from pipeline.core.errors import NotFoundError
from pipeline.dataset import DIGEST_BYTES, ROWS_PER_NODE


def compare_by_nodes(scope: Scope, choice: Alignment) -> Comparison:
    """Compare our rows with a ledger; a part is widened to whole nodes.

    Raises: NotFoundError when our side does not have the rows, or nodes of them cannot be compared.
    """
    ledger = scope.opposite.ledger
    assert ledger is not None
    ours = choice.ours(scope.output)
    start, stop = scope.bounds(choice.of, ours.num_rows)
    first, last = _widened(start, stop, ours.num_rows, ledger.num_rows)
    is_whole = scope.is_whole
    if last < stop and not is_whole:
        raise NotFoundError(
            f"{scope.opposite.what}: has {ledger.num_rows:,} rows in nodes of {ROWS_PER_NODE:,}, "
            f"of which rows {last:,}:{stop:,} cannot be compared with the {ours.num_rows:,} of "
            f"{scope.output.folder}",
            f"choose rows below {last:,}",
        )
    parts = parts_of(scope.windows(choice.of), first, last)
    made = digest_rows(ours, first, last, parts, scope.report)
    theirs = ledger.nodes[first // ROWS_PER_NODE :][: len(made.ledger.nodes)]
    bad = np.flatnonzero((made.ledger.nodes != theirs).any(axis=1)) * ROWS_PER_NODE + first
    known = {(one.name, one.start, one.stop): one.multiset_root for one in scope.opposite.windows}
    results = []
    for part, ours_root in zip(parts, made.multiset_roots, strict=True):
        root = known.get(part)
        same = None if root is None else root == ours_root
        results.append(_result(part, bad, last, same))
    is_all = first == 0 and last == ours.num_rows == ledger.num_rows
    return Comparison(
        of=choice.of,
        view=choice.view,
        why_view=choice.why,
        start=first,
        stop=last,
        num_rows=ours.num_rows,
        their_num_rows=ledger.num_rows,
        is_whole=is_whole,
        num_missing=max(ledger.num_rows, stop) - last if is_whole else 0,
        same_multiset=made.ledger.multiset == ledger.multiset if is_all else not len(bad) or None,
        windows=tuple(results),
        rows_per_unit=ROWS_PER_NODE,
        num_differing=int((np.minimum(bad + ROWS_PER_NODE, last) - bad).sum()),
        differing=bad[:MOST_EVIDENCE],
        digests_start=first,
        our_digests=np.empty((0, DIGEST_BYTES), np.uint8),
        their_digests=np.empty((0, DIGEST_BYTES), np.uint8),
        notes=tuple(_notes(scope, (start, stop), (first, last), ledger.num_rows)),
    )


def _notes(scope: Scope, asked: Range, compared: Range, their_num_rows: int) -> Iterator[str]:
    start, stop = asked
    first, last = compared
    if scope.asked is not None and asked != compared:
        yield (
            f"rows {start:,}:{stop:,} became {first:,}:{last:,}: a manifest keeps one digest for "
            f"every {ROWS_PER_NODE:,} rows"
        )
    if scope.asked is None and last < min(stop, their_num_rows):
        yield (
            f"rows {last:,}:{stop:,} were not compared: the manifest's digest of them is one of "
            "more rows"
        )


def _widened(start: int, stop: int, num_rows: int, their_num_rows: int) -> Range:
    """Widen a range to nodes that both sides have whole, as far as they do.

    Where this side ends within a node that the other goes on with, that node cannot be compared;
    where the other ends within one, this side's rows can be cut there.
    """
    common = min(num_rows, their_num_rows)
    if common < their_num_rows:
        common = common // ROWS_PER_NODE * ROWS_PER_NODE
    first = start // ROWS_PER_NODE * ROWS_PER_NODE
    last = -(-stop // ROWS_PER_NODE) * ROWS_PER_NODE
    return min(first, common), min(last, common)


def _result(part: Part, bad: Int64Array, last: int, same_multiset: bool | None) -> WindowResult:
    """Return what the nodes that differ say of a part."""
    name, start, stop = part
    starts = np.maximum(bad, start)
    counts = np.minimum(np.minimum(bad + ROWS_PER_NODE, last), stop) - starts
    touched = counts > 0
    return WindowResult(
        name=name,
        start=start,
        stop=stop,
        same_multiset=same_multiset if touched.any() else True,
        num_differing=int(counts[touched].sum()),
        first_difference=int(starts[touched][0]) if touched.any() else None,
    )
