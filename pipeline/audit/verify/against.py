"""Against: an output and something else -> what is the same, what is not, and why.

The something else is a manifest, another output, a published order, or a pool. To compare, only
what is asked for is read, of either side, in blocks, and memory does not grow with it. To explain
rows that differ, all of our pool is read besides, and some numbers are kept of each of its rows;
`explain` says how much that is, and from how many rows on it is left out.
"""

from pathlib import Path

from pipeline.audit.verify.alignment import Alignment, Asked, as_itself, choose
from pipeline.audit.verify.compare_nodes import compare_by_nodes
from pipeline.audit.verify.compare_rows import compare_by_rows
from pipeline.audit.verify.comparison import Comparison, Finding, Output
from pipeline.audit.verify.declarations import declared_differences
from pipeline.audit.verify.explain.explain import explain, explain_dtype, explain_no_pool
from pipeline.audit.verify.report import Report
from pipeline.audit.verify.scope import Range, Scope
from pipeline.audit.verify.target import open_target
from pipeline.core.errors import ConfigError
from pipeline.core.progress import ReportProgress


def verify_against(
    folder: Path,
    what: str,
    *,
    rows: Range | None = None,
    steps: Range | None = None,
    window: int | None = None,
    view: Asked = "auto",
    report: ReportProgress = lambda stage, done, total: None,
) -> Report:
    """Compare the ordered rows of an output with something else, and explain what differs.

    At most one of `rows`, `steps` and `window` picks a part: rows count from 0; steps, over the
    whole order, and windows from 1; of a range the end is not part. `view` is that of the other
    side's rows; `auto` finds it out.

    Raises: InputError when either side cannot be used; NotFoundError for a part that is not there;
    ConfigError for more than one of the three.
    """
    if sum(one is not None for one in (rows, steps, window)) > 1:
        raise ConfigError("got two of --rows, --steps and --window, expected at most one")
    output = Output.open(folder)
    opposite = open_target(what, output.declaration["phase"])
    scope = Scope.of(output, opposite, rows=rows, steps=steps, window=window, report=report)
    choice = choose(scope, view, scope.start) or as_itself(scope, view, scope.start)
    comparison = _compare(scope, choice)
    first = comparison.first_difference
    again = None if first is None or view != "auto" else choose(scope, view, first)
    if again is not None and (again.of, again.view) != (choice.of, choice.view):
        # Two views leave many rows alike, and so maybe all that were looked at before.
        other = _compare(scope, again)
        if other.num_differing < comparison.num_differing:
            choice, comparison = again, other
    findings = _findings(scope, choice, comparison)
    return Report(
        folder=str(folder),
        what=what,
        kind=opposite.kind,
        batch_size=output.batch_size,
        comparison=comparison,
        findings=tuple(findings),
    )


def _compare(scope: Scope, choice: Alignment) -> Comparison:
    if scope.opposite.ledger is not None:
        return compare_by_nodes(scope, choice)
    return compare_by_rows(scope, choice)


def _findings(scope: Scope, choice: Alignment, comparison: Comparison) -> list[Finding]:
    """Return what was declared differently, and what explains rows that differ."""
    output, opposite = scope.output, scope.opposite
    found = []
    if opposite.manifest is not None:
        found += declared_differences(output.manifest, opposite.manifest)
    if opposite.ledger is None:
        theirs = scope.theirs(choice.view)
        found += explain_dtype(theirs)
        found += explain(output, theirs, comparison)
    elif comparison.num_differing:
        found += explain_no_pool(output) or _without_rows(found)
    return found


def _without_rows(declared: list[Finding]) -> list[Finding]:
    """Say that a cause is searched for among rows alone, unless what was declared tells it."""
    if declared:
        return []
    text = "a manifest holds digests and no rows, so no cause was searched for; compare with rows"
    return [Finding(kind="unknown", text=text)]
