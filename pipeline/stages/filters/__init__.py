"""Filters: which documents of a source go on, and with what text.

Enters: documents and the filters that a source declares. Leaves: the documents that pass, in order,
and each of the others with its reason. A verdict depends on the document, on the declaration and on
what `identify` names, on nothing else. `datatrove` does the work of all but `length` and `regex`.
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
