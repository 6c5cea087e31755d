"""Trace: which documents a step saw, and which steps saw a document.

A position, document or text -> the provenance of rows, places of the text, or counts by source.
"""

from pipeline.audit.trace.lookup import Trace
from pipeline.audit.trace.positions import Positions, RowRange
from pipeline.audit.trace.report import (
    beside_json,
    beside_lines,
    counts_json,
    counts_lines,
    row_json,
    row_line,
    text_lines,
)
from pipeline.audit.trace.text_search import find

__all__ = [
    "Positions",
    "RowRange",
    "Trace",
    "beside_json",
    "beside_lines",
    "counts_json",
    "counts_lines",
    "find",
    "row_json",
    "row_line",
    "text_lines",
]
