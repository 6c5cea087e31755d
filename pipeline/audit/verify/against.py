"""Compare the rows of an output with a target: which are equal, which differ, and why.

The target is a manifest, another output, a published order, or a pool. A comparison reads only the
requested rows, in constant memory; explaining rows that differ reads the output's whole pool.
"""

from pathlib import Path

from pipeline.audit.verify.alignment import ViewChoice, align, default_alignment
from pipeline.audit.verify.build_output import Output
from pipeline.audit.verify.compare import compare
from pipeline.audit.verify.explain import explain
from pipeline.audit.verify.report import Report
from pipeline.audit.verify.scope import Range, Scope
from pipeline.audit.verify.target import open_target
from pipeline.core.errors import ConfigError
from pipeline.core.progress import ReportProgress, no_progress


def verify_against(
    folder: Path,
    what: str,
    *,
    rows: Range | None = None,
    steps: Range | None = None,
    window: int | None = None,
    view: ViewChoice = "auto",
    report: ReportProgress = no_progress,
) -> Report:
    """Compare the ordered rows of an output with a target, and explain what differs.

    At most one of `rows`, `steps` and `window` selects a part: rows count from 0; steps, over the
    whole order, and windows from 1; ranges are half-open. `view` is that of the target's rows;
    `auto` detects it.

    Raises: InputError when either side cannot be used; NotFoundError for a part that is not there;
    ConfigError for more than one of the three.
    """
    if sum(one is not None for one in (rows, steps, window)) > 1:
        raise ConfigError("got two of --rows, --steps and --window, expected at most one")
    output = Output.open(folder)
    target = open_target(what, output.declaration["phase"])
    scope = Scope.of(output, target, rows=rows, steps=steps, window=window, show=report)

    alignment = align(scope, view, scope.start) or default_alignment(scope, view, scope.start)
    comparison = compare(scope, alignment)

    first = comparison.first_difference
    again = None if first is None or view != "auto" else align(scope, view, first)
    if again is not None and (again.of, again.view) != (alignment.of, alignment.view):
        # Two views leave many rows alike, maybe all that the first alignment looked at.
        other = compare(scope, again)
        comparison = min(comparison, other, key=lambda one: one.num_differing)
    return Report(comparison=comparison, findings=tuple(explain(comparison)))
