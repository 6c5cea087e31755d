"""Search: an index of the tokens of an order.

Runs of ids, as `Trace.patterns` makes of a text -> how often they are there, where first, and how
often over training time. Places are those of the text search of `trace`.
"""

from pipeline.audit.search.found import Found
from pipeline.audit.search.index_builder import build_index, section_tokens_within
from pipeline.audit.search.index_record import IndexRecord
from pipeline.audit.search.open_index import SearchIndex, default_folder, find_index

__all__ = [
    "Found",
    "IndexRecord",
    "SearchIndex",
    "build_index",
    "default_folder",
    "find_index",
    "section_tokens_within",
]
