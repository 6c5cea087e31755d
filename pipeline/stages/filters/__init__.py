"""Filters: which documents of a source are kept, and with what text.

A verdict depends on the document, the declaration and what `identify` names. All filters but
`length`, `regex` and those of a mixture's own are `datatrove`'s.
"""

from pipeline.stages.filters.chain import make_filters
from pipeline.stages.filters.dependencies import identify
from pipeline.stages.filters.dropped_writer import DroppedWriter
from pipeline.stages.filters.own_code import refuse_code
from pipeline.stages.filters.verdict import Dropped

__all__ = ["Dropped", "DroppedWriter", "identify", "make_filters", "refuse_code"]
