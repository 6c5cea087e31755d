"""Filters: which documents of a source are kept, and with what text.

Enters: documents and the filters that a source declares. Leaves: the documents that are kept, in
order, and each of the others with its reason. A verdict depends on the document, the declaration
and what `identify` names, on nothing else. `datatrove` judges, except for `length` and `regex`.
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
