"""Two orders side by side: the first row that differs, by token, and what explains it."""

import shlex
from typing import Any

from pipeline.audit.verify import (
    Comparison,
    Report,
    is_step_table,
    lines,
    verify_against,
    verify_steps,
)
from pipeline.core.arrays import Uint32Array
from pipeline.core.errors import ConfigError, NetworkError, NotFoundError, PipelineError
from pipeline.dataset import RowSource, as_path, list_remote
from pipeline.show.row_view import MOST_TOKENS
from pipeline.show.shown_order import Shown
from pipeline.storage import RetryPolicy

# Somebody waits for the answer.
_FEW_SECONDS = RetryPolicy(max_tries=2, timeout_seconds=5.0)


def compare_view(shown: Shown, other: str) -> dict[str, Any]:
    """Compare an order with another: a manifest, an output, published rows, a pool, a table.

    Reads every row of both where they are rows. Opens readers of its own.

    Raises: NotFoundError of an order that is no output of a build; MismatchError where its folder
    has another by now; NetworkError of a server that does not answer within seconds; as
    `verify_against`.
    """
    folder = shown.folder
    if folder is None or shown.trace is None:
        raise NotFoundError(
            f"{shown.where}: only the whole output of a build is compared here",
            "show that one, and compare it with this place",
        )
    if not other:
        raise ConfigError(
            "with: got nothing, expected a path, an address or the name of a manifest"
        )
    shown.check_is_same()
    same = {
        "command": shlex.join(["ettin-data", "verify", shown.where, "--against", other]),
        "python": "from pathlib import Path\n"
        "from pipeline.audit.verify import lines, verify_against\n"
        f"print(*lines(verify_against(Path({shown.where!r}), {other!r})), sep='\\n')",
    }
    if is_step_table(other):
        told = verify_steps(folder, other)
        found: dict[str, Any] = {"same": told.equal, "first_row": None, "is_exact": False}
        return {**found, "ours": [], "theirs": [], "explanation": told.lines(), **same}
    _reach(other)
    return {**_compared(shown, verify_against(folder, other)), **same}


def _reach(where: str) -> None:
    """Insist that the server of an address answers; what else is wrong, a comparison says."""
    try:
        if as_path(where) is None:
            list_remote(where, _FEW_SECONDS)
    except NetworkError:
        raise
    except PipelineError:
        pass


def _compared(shown: Shown, report: Report) -> dict[str, Any]:
    comparison = report.comparison
    first = comparison.first_difference
    ours: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    if first is not None and comparison.rows_per_unit == 1:
        ours = _tokens(shown, _ours(comparison), first)
        theirs = _tokens(shown, comparison.theirs, first)
    return {
        "same": report.equal,
        "first_row": first,
        "is_exact": comparison.rows_per_unit == 1,
        "ours": ours,
        "theirs": theirs,
        "explanation": lines(report),
    }


def _ours(comparison: Comparison) -> RowSource:
    output = comparison.output
    under = output.pool_under if comparison.of == "pool" else output.ordered_under
    return under(comparison.view)


def _tokens(shown: Shown, rows: RowSource | None, row: int) -> list[dict[str, Any]]:
    if rows is None or row >= rows.num_rows:
        return []
    try:
        block = next(iter(rows.read(row, row + 1)))
        ids: Uint32Array = block[0]
        return shown.token_text.tokens(ids[:MOST_TOKENS])
    except PipelineError:
        return []
