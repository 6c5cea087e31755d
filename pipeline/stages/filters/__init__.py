"""Filters: which documents of a source are kept, and with what text.

A verdict depends on the document, the declaration and what `identify` names. All filters but
`length` and `regex` are `datatrove`'s.
"""

from pipeline.stages.filters.chain import make_filters
from pipeline.stages.filters.dependencies import identify
from pipeline.stages.filters.dropped_writer import DroppedWriter
from pipeline.stages.filters.verdict import Dropped

__all__ = ["Dropped", "DroppedWriter", "identify", "make_filters"]
