"""Filters: which documents of a source go on, and with what text.

Enters: documents and the filters that a source declares. Leaves: the documents that pass, in order,
and each of the others with its reason. A verdict depends on the document, on the declaration and on
what `identify` names, on nothing else. `datatrove` does the work of all but `length` and `regex`.
"""

from pipeline.filters.dropped import DroppedWriter
from pipeline.filters.identity import identify
from pipeline.filters.judge import Filters, make_filters
from pipeline.filters.verdict import Dropped

__all__ = ["Dropped", "DroppedWriter", "Filters", "identify", "make_filters"]
