"""Filters: which documents of a source are kept, and with what text.

Documents go in; those kept come out in order, all others with a reason. A verdict depends on the
document, the declaration and what `identify` names. All but `length` and `regex` are `datatrove`'s.
"""

from pipeline.stages.filters.chain import FilterChain, make_filters
from pipeline.stages.filters.dependencies import identify
from pipeline.stages.filters.dropped_writer import DroppedWriter
from pipeline.stages.filters.verdict import Dropped

__all__ = [
    "Dropped",
    "DroppedWriter",
    "FilterChain",
    "identify",
    "make_filters",
]
