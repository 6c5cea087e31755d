"""Trace: which documents a step saw, and which steps saw a document.

Enters an output with its provenance, and a position, a document or a text. Leaves the provenance of
rows, places of the text, or counts by source.
"""

from pipeline.audit.trace.positions import Positions, RowRange
from pipeline.audit.trace.report import (
    counts_json,
    counts_lines,
    row_json,
    row_line,
    text_lines,
)
from pipeline.audit.trace.text_search import Match
from pipeline.audit.trace.trace import Trace

__all__ = [
    "Match",
    "Positions",
    "RowRange",
    "Trace",
    "counts_json",
    "counts_lines",
    "row_json",
    "row_line",
    "text_lines",
]
