"""Where rows to evaluate on lie: an order, with its provenance."""

from dataclasses import dataclass

from pipeline.audit.trace import Trace
from pipeline.dataset import Order


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """Rows, and where they come from."""

    order: Order
    trace: Trace
