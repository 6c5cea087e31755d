"""Trace: which documents a step saw, and which steps saw a document.

`positions` says which rows are meant, `find` where a text stands, `output` ties them to an output
and its provenance, `report` words the answers.
"""

from pipeline.trace.find import Match
from pipeline.trace.output import Trace
from pipeline.trace.positions import Positions, Span
from pipeline.trace.report import counts_json, counts_lines, origin_json, origin_line, text_lines

__all__ = [
    "Match",
    "Positions",
    "Span",
    "Trace",
    "counts_json",
    "counts_lines",
    "origin_json",
    "origin_line",
    "text_lines",
]
