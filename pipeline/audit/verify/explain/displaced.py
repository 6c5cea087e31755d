"""The same rows in an order that no neighbour of ours gives: what moved, and how far.

Enters: positions of theirs with the rows of our pool that are there. Leaves: a finding that says
whether rows keep their step or window, come later by a constant, or follow the ranks of a step.
"""

from typing import Any

import numpy as np

from pipeline.audit.verify.comparison import Comparison, Finding, Output
from pipeline.audit.verify.explain.known_rows import OurRows
from pipeline.audit.verify.explain.order_search import OrderSearch
from pipeline.core.arrays import Int64Array

_RANKS = (2, 4, 8, 16, 32, 64, 128, 256, 512)


def explain_positions(
    output: Output,
    comparison: Comparison,
    positions: Int64Array,
    classes: Int64Array,
    ours: OurRows,
    search: OrderSearch,
) -> list[Finding]:
    """Say how far rows are from where our order has them; nothing where none can be told."""
    single = ours.are_single(classes)
    if not single.any():
        return []
    is_pool = comparison.of == "pool" or search.is_pool
    there, rows = positions[single], classes[single]
    here = rows if is_pool else output.order.positions_of(rows)
    evidence: dict[str, Any] = {
        "num_rows": len(there),
        "num_moved": int(np.count_nonzero(here != there)),
    }
    shifts, counts = np.unique(here - there, return_counts=True)
    by = int(shifts[counts.argmax()])
    if by and counts.max() * 2 > len(there):
        text = f"their rows are ours, {abs(by):,} rows {'earlier' if by > 0 else 'later'}"
        return [Finding(kind="position", text=text, evidence={**evidence, "shift": by})]
    batch = output.batch_size
    for ranks in _RANKS if not is_pool else ():
        if batch % ranks == 0 and np.array_equal(_rank_after_rank(there, batch, ranks), here):
            text = f"each step has the same rows, but those of one of {ranks} ranks after another"
            evidence["num_ranks"] = ranks
            return [Finding(kind="row order", text=text, evidence=evidence)]
    first = int(there[here != there].min(initial=comparison.stop))
    inside = _inside(output, here, there) if not is_pool else ""
    text = (
        f"{evidence['num_moved']:,} of {len(there):,} rows that our pool has once are at other "
        f"positions{f', all inside their {inside}' if inside else ''}: the first is at position "
        f"{first:,}"
    )
    if search.placed is None:
        text += f"; none of {search.num_tried:,} orders near ours fits"
    evidence |= {"inside": inside or None, "first": first, "num_orders_tried": search.num_tried}
    return [Finding(kind="row order", text=text, evidence=evidence)]


def _inside(output: Output, here: Int64Array, there: Int64Array) -> str:
    """Return what no row has left: its step, its window, or nothing less than the order."""
    batch = output.batch_size
    if np.array_equal(here // batch, there // batch):
        return "step"
    firsts = [window.first_step for window in output.manifest.order.windows]
    starts = np.array(firsts) * batch
    window_here, window_there = (np.searchsorted(starts, at, side="right") for at in (here, there))
    return "window" if np.array_equal(window_here, window_there) else ""


def _rank_after_rank(positions: Int64Array, batch: int, ranks: int) -> Int64Array:
    """Return where our order has the row of each position, were steps written rank by rank."""
    inside = positions % batch
    return positions - inside + inside % (batch // ranks) * ranks + inside // (batch // ranks)
