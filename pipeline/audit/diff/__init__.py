"""Diff: two mixtures, manifests, outputs or orders -> what differs, in words and counts.

Outputs are compared by their manifests alone; an order without a manifest is digested first.
"""

from pipeline.audit.diff.difference import compare_declarations, compare_sources, diff
from pipeline.audit.diff.report import as_json, lines, listed, partition_text, value_text

__all__ = [
    "as_json",
    "compare_declarations",
    "compare_sources",
    "diff",
    "lines",
    "listed",
    "partition_text",
    "value_text",
]
