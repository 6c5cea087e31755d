"""Displaced rows: the same rows in another order: what moved, and how far."""

from typing import Any

import numpy as np

from pipeline.audit.diff import listed
from pipeline.audit.verify.build_output import Output
from pipeline.audit.verify.comparison import Comparison, Finding, finding, shared
from pipeline.audit.verify.explain.arrangement import arrangement_of
from pipeline.audit.verify.explain.chunk_variants import (
    are_all_other,
    are_all_remade,
    find_variant,
)
from pipeline.audit.verify.explain.order_search import find_order
from pipeline.audit.verify.explain.pool_edits import closer_rows, pool_edits
from pipeline.audit.verify.explain.pool_index import known_rows
from pipeline.core.arrays import Int64Array

_RANKS = (2, 4, 8, 16, 32, 64, 128, 256, 512)
# So much of an order has to fit, where most rows are unknown, for that of parts to count.
_SURELY = 0.5
_MOST_NAMED = 5


class ShardOrder:
    """Parts of the pool in another order."""

    def applies(self, comparison: Comparison) -> bool:
        arrangement = arrangement_of(comparison)
        if arrangement is None or arrangement.is_ours or are_all_other(comparison):
            return False
        # Where most rows are others, those that are the same may follow one another by chance.
        return find_order(comparison).score >= _SURELY or not are_all_remade(comparison)

    def explain(self, comparison: Comparison) -> list[Finding]:
        arrangement = arrangement_of(comparison)
        assert arrangement is not None
        expected = list(arrangement.parts.names)
        names = [expected[part] for part in arrangement.order.tolist()]
        wrong = [i for i, pair in enumerate(zip(names, expected, strict=True)) if len({*pair}) > 1]
        first, last = wrong[0], wrong[-1] + 1
        theirs, ours = names[first:last], expected[first:last]
        text = (
            "the other side's index has the pool's parts in another order: from part "
            f"{first + 1} on {listed(theirs, _MOST_NAMED)}, where the output has "
            f"{listed(ours, _MOST_NAMED)}"
        )
        return finding("shard order", text, theirs=theirs, ours=ours, first=first)


@shared
def edit_findings(comparison: Comparison) -> list[Finding]:
    """Return what edits of the pool do; nothing where all its rows are others."""
    edits, placed = pool_edits(comparison), find_order(comparison).placed
    if edits is None or placed is None or are_all_remade(comparison) or are_all_other(comparison):
        return []
    fit = find_variant(comparison)
    return edits.findings(placed.num_samples, f"; it fits {fit.words}" if fit else "")


class DisplacedRows:
    """Rows of the pool at positions that are not theirs."""

    def applies(self, comparison: Comparison) -> bool:
        return not are_all_remade(comparison) and not are_all_other(comparison)

    def explain(self, comparison: Comparison) -> list[Finding]:
        edits, placed = pool_edits(comparison), find_order(comparison).placed
        if edits is None or placed is None:
            return _explain_positions(comparison)
        moved = edits.moved
        if not len(moved):
            return []
        arrangement = arrangement_of(comparison)
        is_arranged = arrangement is not None and not arrangement.is_ours
        is_other_order = placed.key not in (None, comparison.output.key)
        if not (is_other_order or is_arranged or edit_findings(comparison)):
            return _explain_positions(comparison)
        text = (
            f"{len(moved):,} row{'s are' if len(moved) > 1 else ' is'} in the output's pool, but "
            f"belong{'' if len(moved) > 1 else 's'} to other positions: the first is at position "
            f"{moved[0]:,}"
        )
        return finding("row order", text, num_moved=len(moved), first=int(moved[0]))


def _explain_positions(comparison: Comparison) -> list[Finding]:
    """Say how far rows are from where the output's order has them, if any are known."""
    output, search, rows = comparison.output, find_order(comparison), closer_rows(comparison)
    single = known_rows(comparison)[0].are_single(rows.classes)
    if not single.any():
        return []
    is_pool = comparison.of == "pool" or search.is_pool
    there, classes = rows.positions[single], rows.classes[single]
    here = classes if is_pool else output.order.positions_of(classes)
    num_moved = int(np.count_nonzero(here != there))
    evidence: dict[str, Any] = {"num_rows": len(there), "num_moved": num_moved}
    shifts, counts = np.unique(here - there, return_counts=True)
    by = int(shifts[counts.argmax()])
    if by and counts.max() * 2 > len(there):
        text = (
            f"the other side's rows are the output's, {abs(by):,} rows "
            f"{'earlier' if by > 0 else 'later'}"
        )
        return finding("position", text, **evidence, shift=by)
    batch = output.batch_size
    for ranks in _RANKS if not is_pool else ():
        if batch % ranks == 0 and np.array_equal(_rank_after_rank(there, batch, ranks), here):
            text = f"each step has the same rows, but those of one of {ranks} ranks after another"
            return finding("row order", text, **evidence, num_ranks=ranks)
    first = int(there[here != there].min(initial=comparison.stop))
    inside = "" if is_pool else _inside(output, here, there)
    text = (
        f"{num_moved:,} of {len(there):,} rows that the output's pool has once are at "
        f"other positions{f', all inside their {inside}' if inside else ''}: the first is at "
        f"position {first:,}"
    )
    if search.placed is None:
        text += f"; none of the {search.num_tried:,} orders that were tried fits"
    evidence |= {"inside": inside or None, "first": first, "num_orders_tried": search.num_tried}
    return finding("row order", text, **evidence)


def _inside(output: Output, here: Int64Array, there: Int64Array) -> str:
    """Return what no row has left: its step, its window, or neither."""
    batch = output.batch_size
    if np.array_equal(here // batch, there // batch):
        return "step"
    starts = np.array([window.first_step * batch for window in output.manifest.order.windows])
    window_here, window_there = (np.searchsorted(starts, at, side="right") for at in (here, there))
    return "window" if np.array_equal(window_here, window_there) else ""


def _rank_after_rank(positions: Int64Array, batch: int, ranks: int) -> Int64Array:
    """Return where the output's order has the row of each position, were steps rank by rank."""
    inside = positions % batch
    return positions - inside + inside % (batch // ranks) * ranks + inside // (batch // ranks)
