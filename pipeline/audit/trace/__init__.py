"""Trace: which documents a step saw, and which steps saw a document.

`positions` says which rows are meant, `find` where a text stands, `output` ties them to an output
and its provenance, `report` words the answers.
"""

from pipeline.audit.trace.positions import Positions, RowRange
from pipeline.audit.trace.report import (
    counts_json,
    counts_lines,
    origin_json,
    origin_line,
    text_lines,
)
from pipeline.audit.trace.search import Match
from pipeline.audit.trace.trace import Trace

__all__ = [
    "Match",
    "Positions",
    "RowRange",
    "Trace",
    "counts_json",
    "counts_lines",
    "origin_json",
    "origin_line",
    "text_lines",
]
