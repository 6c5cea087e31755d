"""Values of a comparison: what was compared, which rows differ, and what explains it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Literal, TypeVar, cast

from pipeline.audit.verify.build_output import Output
from pipeline.audit.verify.target import Target
from pipeline.core.arrays import Int64Array, Uint8Array
from pipeline.dataset import RowSource
from pipeline.order import View

Of = Literal["order", "pool"]
"""What positions are of: an output's ordered rows, or the rows of its pool."""
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowResult:
    """The result for the compared part of a window."""

    name: str
    start: int
    stop: int
    same_multiset: bool | None
    """Whether both sides have the same rows in some order; None where digests cannot tell."""
    num_differing: int
    """Rows that differ; for a manifest, all rows of the nodes of 1,024 that do."""
    first_difference: int | None

    @property
    def equal(self) -> bool:
        return self.num_differing == 0


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The rows of an output and those of a target over one range, and where they differ."""

    output: Output
    target: Target
    theirs: RowSource | None
    """The target's rows; None where it has only digests."""
    of: Of
    view: View
    """The view under which the output's rows were compared."""
    why_view: str
    start: int
    stop: int
    num_rows: int
    """Rows of the output; up to the end of the window where one is compared."""
    their_num_rows: int
    """Likewise of the target; at least so many for a part that is equal."""
    num_missing: int
    """Rows that only one side has; 0 where a part was compared."""
    same_multiset: bool | None
    """Whether both sides have the same rows in some order; None where digests cannot tell."""
    windows: tuple[WindowResult, ...]
    rows_per_unit: int
    """1 where rows were compared; 1,024 where only nodes of a ledger were."""
    num_differing: int
    differing: Int64Array
    """int64 [at most 65,536], the first positions that differ, of rows or of nodes' first rows."""
    digests_start: int
    """The row that `our_digests` and `their_digests` begin with: the first that differs."""
    our_digests: Uint8Array
    """uint8 [at most 65,536, 32], digests of the output's rows under `view`; empty for nodes."""
    their_digests: Uint8Array
    """uint8 [as many, 32], digests of the target's rows."""
    notes: tuple[str, ...] = ()
    """How the compared rows differ from the requested ones."""
    shared_values: dict[Callable[..., Any], Any] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Results of functions marked `shared`."""

    @property
    def first_difference(self) -> int | None:
        return int(self.differing[0]) if self.num_differing else None

    @property
    def equal(self) -> bool:
        """Whether both sides have the requested rows, and they are the same."""
        return self.num_differing == 0 and self.num_missing == 0


def shared(compute: Callable[[Comparison], Result]) -> Callable[[Comparison], Result]:
    """Make a function of a comparison keep its result on the comparison."""

    @wraps(compute)
    def get(comparison: Comparison) -> Result:
        if compute not in comparison.shared_values:
            comparison.shared_values[compute] = compute(comparison)
        return cast(Result, comparison.shared_values[compute])

    return get


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A cause of a difference, or something noticed on the way."""

    kind: str
    """Such as `row count`, `shard order`, `partition`, `prefix space`, `tokenizer`, `chunk
    algorithm`, `view`, `dtype`, `seed`, `epoch`, `mixture`, `unknown`."""
    text: str
    evidence: dict[str, Any] = field(default_factory=dict)
    """The numbers behind it, JSON-able."""


def finding(kind: str, text: str, **evidence: Any) -> list[Finding]:
    """Return one finding as a list, as causes do."""
    return [Finding(kind=kind, text=text, evidence=evidence)]
