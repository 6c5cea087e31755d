"""Choose: beside which rows of an output those of another side are laid, and under which view.

Found out from the first few hundred rows: what makes the most of them equal is taken. Where nothing
makes any equal, the output's own order and view are.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pipeline.audit.verify.compare import digest_rows
from pipeline.audit.verify.comparison import Of, Output
from pipeline.audit.verify.scope import Scope
from pipeline.core.arrays import Uint8Array
from pipeline.core.errors import InputError
from pipeline.core.ragged import Rows
from pipeline.dataset import DIGEST_BYTES, ROWS_PER_NODE, RowSource, row_digests
from pipeline.order import View

# Enough to tell rows that are equal from those that are not, and a moment's reading.
_SAMPLE_ROWS = 256

Asked = View | Literal["auto"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Alignment:
    """What is laid beside the other side."""

    of: Of
    """The output's ordered rows, or the rows of its pool in the order of the index."""
    view: View
    """Under which view."""
    why: str
    """In words, why."""

    def ours(self, output: Output) -> RowSource:
        """Return the output's rows."""
        if self.of == "pool":
            return output.replay(None, int(output.pool.num_rows.sum()), self.view)
        return output.rows_under(self.view)


_POOL = Alignment(of="pool", view="stored", why="")


def choose(scope: Scope, asked: Asked, row: int) -> Alignment | None:
    """Choose by the rows from `row` on; None where nothing makes any of them equal.

    A view that is asked for, or that the other side says it has, is not doubted. An output without
    a pool is taken as it is written where it cannot be had under that view.
    Raises: InputError when rows of either side cannot be read, or not under a view asked for.
    """
    by_node = scope.opposite.ledger is not None
    may_be_pool = scope.may_be_pool and (by_node or scope.opposite.kind == "MDS shards")
    said = _said(scope, asked)
    if said is not None and (by_node or not may_be_pool):
        return said
    choices = [said] if said is not None else _orders(scope.output)
    if may_be_pool:
        choices.insert(1, _POOL)
    return _by_node(scope, choices, row) if by_node else _by_rows(scope, choices, row)


def as_itself(scope: Scope, asked: Asked, row: int) -> Alignment:
    """Return the output's order; its pool if that has the other side's number of rows."""
    if asked != "auto":
        return Alignment(of="order", view=asked, why="as asked for")
    why = f"as the output itself, since no row from row {row:,} on is equal in any way"
    is_mds = scope.may_be_pool and scope.opposite.kind == "MDS shards"
    if is_mds and _POOL.ours(scope.output).num_rows == scope.opposite.num_rows:
        return replace(_POOL, why=why)
    return Alignment(of="order", view=scope.output.view, why=why)


def _by_rows(scope: Scope, choices: list[Alignment], row: int) -> Alignment | None:
    stop = scope.opposite.num_rows if scope.asked is None else scope.asked[1]
    stop = max(row, min(stop, row + _SAMPLE_ROWS))
    assert scope.onward is not None
    theirs = _digests(scope.onward.peek(row, stop))
    best, most = None, 0
    problems = ""
    for choice in choices:
        try:
            rows = choice.ours(scope.output)
            last = max(row, min(stop, rows.num_rows))
            ours = _digests([] if row == last else rows.read(row, last))
        except InputError as error:
            if choice == choices[0]:
                raise
            # As where the tokenizer is gone, without which only rows as written can be compared.
            problems += f" ({choice.view} could not be tried: {error.message})"
            continue
        equal = int((ours == theirs[: len(ours)]).all(axis=1).sum())
        if equal > most:
            why = f"{equal:,} of {len(ours):,} rows from row {row:,} on are equal"
            best, most = replace(choice, why=why), equal
        if equal == len(theirs):
            break
    return None if best is None else replace(best, why=best.why + problems)


def _by_node(scope: Scope, choices: list[Alignment], row: int) -> Alignment | None:
    ledger = scope.opposite.ledger
    assert ledger is not None
    node = row // ROWS_PER_NODE
    start, stop = node * ROWS_PER_NODE, min((node + 1) * ROWS_PER_NODE, ledger.num_rows)
    for choice in choices:
        ours = choice.ours(scope.output)
        if start < stop <= ours.num_rows:
            made = digest_rows(ours, start, stop, [], lambda *done: None)
            if np.array_equal(made.ledger.nodes, ledger.nodes[node : node + 1]):
                return replace(choice, why=f"rows {start:,}:{stop:,} are equal")
    return None


def _said(scope: Scope, asked: Asked) -> Alignment | None:
    output, said = scope.output, scope.opposite.view
    if asked != "auto":
        for side in (output, scope.opposite.output):
            if side is not None:
                side.check_view(asked)
        return Alignment(of="order", view=asked, why="as asked for")
    if said is None:
        return None
    if said in output.views:
        return Alignment(of="order", view=said, why="as its manifest says")
    why = f"as the output itself, which has no pool to make the {said} view of"
    return Alignment(of="order", view=output.view, why=why)


def _orders(output: Output) -> list[Alignment]:
    """Return the output's order under every view that it can be had under."""
    return [Alignment(of="order", view=view, why="") for view in output.views]


def _digests(blocks: Iterable[Rows]) -> Uint8Array:
    digests = [row_digests(block.values, block.offsets) for block in blocks]
    return np.concatenate([np.empty((0, DIGEST_BYTES), np.uint8), *digests])
