"""Where rows to evaluate on lie: an order, with its provenance."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline import dataset
from pipeline.audit.trace import Trace
from pipeline.dataset import Order
from pipeline.feed import SpecialIds, special_ids
from pipeline.stages.tokenizer import EMBEDDED


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """Rows, and where they come from."""

    order: Order
    trace: Trace

    @classmethod
    def open(cls, out: Path) -> "Place":
        """Open the output of a build. Raises: as `dataset.open` and `Trace.open`."""
        return cls(order=dataset.open(out), trace=Trace.open(out))

    @cached_property
    def special(self) -> SpecialIds:
        """Raises: as `special_ids`, for an order of another tokenizer than models here have."""
        return special_ids(self.order, EMBEDDED)
