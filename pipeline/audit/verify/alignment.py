"""Alignment: which rows of an output a target is compared with, and under which view.

The one that makes the most of the first few hundred rows equal; where none makes any equal, the
output's own order and view.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

import numpy as np

from pipeline.audit.verify.compare import digest_rows
from pipeline.audit.verify.scope import Alignment, Scope
from pipeline.core.arrays import Uint8Array
from pipeline.core.errors import InputError
from pipeline.core.ragged import Rows
from pipeline.dataset import DIGEST_BYTES, ROWS_PER_NODE, row_digests
from pipeline.order import View

_SAMPLE_ROWS = 256
ViewChoice = View | Literal["auto"]
_POOL = Alignment(of="pool", view="stored")


def align(scope: Scope, view: ViewChoice, row: int) -> Alignment | None:
    """Choose by the rows from `row` on; None where no alignment makes any of them equal.

    A view that is requested, or that the target's manifest states, is taken as it is.
    Raises: InputError when rows of either side cannot be read, or not under a requested view.
    """
    has_digests = scope.target.ledger is not None
    may_be_pool = scope.may_be_pool and (has_digests or scope.target.kind == "MDS shards")
    stated = _stated(scope, view)
    if stated is not None and (has_digests or not may_be_pool):
        return stated
    candidates = [Alignment(of="order", view=one) for one in scope.output.views]
    candidates = candidates if stated is None else [stated]
    if may_be_pool:
        candidates.insert(1, _POOL)
    return (_by_node if has_digests else _by_rows)(scope, candidates, row)


def default_alignment(scope: Scope, view: ViewChoice, row: int) -> Alignment:
    """Return the output's order; its pool if that has the target's number of rows."""
    if view != "auto":
        return Alignment(of="order", view=view, why="as requested")
    why = f"as the output itself, since from row {row:,} on no row is equal under any view"
    is_mds = scope.may_be_pool and scope.target.kind == "MDS shards"
    if is_mds and scope.output.pool_rows.num_rows == scope.target.num_rows:
        return replace(_POOL, why=why)
    return Alignment(of="order", view=scope.output.view, why=why)


def _stated(scope: Scope, view: ViewChoice) -> Alignment | None:
    output, stated = scope.output, scope.target.view
    if view != "auto":
        for side in (output, scope.target.output):
            if side is not None:
                side.check_view(view)
        return Alignment(of="order", view=view, why="as requested")
    if stated is None:
        return None
    if stated in output.views:
        return Alignment(of="order", view=stated, why="as its manifest says")
    why = f"as the output itself, which has no pool to make the {stated} view of"
    return Alignment(of="order", view=output.view, why=why)


def _by_rows(scope: Scope, candidates: list[Alignment], row: int) -> Alignment | None:
    stop = scope.target.num_rows if scope.requested is None else scope.requested[1]
    stop = max(row, min(stop, row + _SAMPLE_ROWS))
    assert scope.reader is not None
    theirs = _digests(scope.reader.peek(row, stop))
    best, most, problems = None, 0, ""
    for candidate in candidates:
        try:
            rows = candidate.rows(scope.output)
            last = max(row, min(stop, rows.num_rows))
            ours = _digests([] if row == last else rows.read(row, last))
        except InputError as error:
            if candidate == candidates[0]:
                raise
            # Such as a missing tokenizer: only rows as written can be read without one.
            problems += f" ({candidate.view} could not be tried: {error.message})"
            continue
        equal = int((ours == theirs[: len(ours)]).all(axis=1).sum())
        if equal > most:
            why = f"{equal:,} of {len(ours):,} rows from row {row:,} on are equal"
            best, most = replace(candidate, why=why), equal
        if equal == len(theirs):
            break
    return None if best is None else replace(best, why=best.why + problems)


def _by_node(scope: Scope, candidates: list[Alignment], row: int) -> Alignment | None:
    ledger = scope.target.ledger
    assert ledger is not None
    node = row // ROWS_PER_NODE
    start, stop = node * ROWS_PER_NODE, min((node + 1) * ROWS_PER_NODE, ledger.num_rows)
    for candidate in candidates:
        ours = candidate.rows(scope.output)
        if start < stop <= ours.num_rows:
            made, _ = digest_rows(ours, start, stop, [], lambda *done: None)
            if np.array_equal(made.nodes, ledger.nodes[node : node + 1]):
                return replace(candidate, why=f"rows {start:,}:{stop:,} are equal")
    return None


def _digests(blocks: Iterable[Rows]) -> Uint8Array:
    digests = [row_digests(block.values, block.offsets) for block in blocks]
    return np.concatenate([np.empty((0, DIGEST_BYTES), np.uint8), *digests])
