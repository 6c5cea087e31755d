"""Report: a comparison and what explains it -> lines for a person, and values for a machine."""

from dataclasses import asdict, dataclass
from typing import Any

from pipeline.audit.verify.comparison import Comparison, Finding, WindowResult
from pipeline.core.mirrored import shown

# So many positions are listed; all are counted.
_MOST_LISTED = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The comparison of an output with a target, and its findings."""

    comparison: Comparison
    findings: tuple[Finding, ...]

    @property
    def equal(self) -> bool:
        """Whether the rows are the same; how they were made does not count."""
        return self.comparison.equal


def as_json(report: Report) -> dict[str, Any]:
    """Return a report as JSON-able values."""
    comparison = report.comparison
    counted = {
        key: getattr(comparison, key)
        for key in ("of", "view", "why_view", "start", "stop", "num_rows", "their_num_rows",
                    "num_missing", "same_multiset", "rows_per_unit", "num_differing",
                    "first_difference")
    }  # fmt: skip
    return {
        "out": shown(comparison.output.folder),
        "against": comparison.target.what,
        "kind": comparison.target.kind,
        "equal": report.equal,
        **counted,
        "differing": comparison.differing[:_MOST_LISTED].tolist(),
        "windows": [{**asdict(one), "equal": one.equal} for one in comparison.windows],
        "notes": list(comparison.notes),
        "findings": [asdict(finding) for finding in report.findings],
    }


def lines(report: Report) -> list[str]:
    """Return a report as lines of text."""
    comparison, target = report.comparison, report.comparison.target
    rows = "rows of train/, in the order of its index," if comparison.of == "pool" else "rows"
    found = [
        f"{shown(comparison.output.folder)} against {target.what} ({target.kind}): {rows} "
        f"{comparison.start:,}:{comparison.stop:,}, view {comparison.view}, {comparison.why_view}"
    ]
    found += comparison.notes
    found += [f"{one.name}: {_result(one, comparison)}" for one in comparison.windows]
    if comparison.same_multiset and not all(one.same_multiset for one in comparison.windows):
        found.append("all rows together are the same, in another order")
    # Of a window both numbers are those of rows up to its end.
    ours = comparison.num_rows - comparison.start
    theirs = comparison.their_num_rows - comparison.start
    if comparison.num_missing:
        found.append(f"number of rows: {ours:,} here, {theirs:,} there ({theirs - ours:+,})")
    if comparison.num_differing and comparison.rows_per_unit == 1:
        listed = ", ".join(f"{row:,}" for row in comparison.differing[:_MOST_LISTED])
        more = comparison.num_differing - _MOST_LISTED
        found.append(f"rows that differ: {listed}" + (f" and {more:,} more" if more > 0 else ""))
    found += [f"{finding.kind}: {finding.text}" for finding in report.findings]
    found.append("equal" if report.equal else "not equal")
    return found


def _result(one: WindowResult, comparison: Comparison) -> str:
    rows = f"rows {one.start:,}:{one.stop:,}"
    if one.first_difference is None:
        return f"{rows} are equal"
    is_exact = comparison.rows_per_unit == 1
    first = f"first at row {one.first_difference:,}"
    if comparison.of == "order":
        first += f", step {one.first_difference // comparison.output.batch_size + 1:,}"
    if not is_exact:
        first += ", or another row of its node"
    if one.same_multiset and not is_exact:
        return f"{rows} hold the same rows; digests cannot tell in which order, {first}"
    if one.same_multiset:
        return f"{rows} are the same in another order, {first}"
    verb = "differs" if one.num_differing == 1 else "differ"
    return f"{rows}: {'' if is_exact else 'up to '}{one.num_differing:,} {verb}, {first}"
