"""Diff: two mixtures, manifests, outputs or orders -> what differs, in words and counts.

Of outputs and manifests it is compared what manifests say; no shard is read. An order without a
manifest is digested first. Two sides are compared in all that both of them tell.
"""

from pipeline.audit.diff.compare import compare_declarations, compare_sources, diff
from pipeline.audit.diff.difference import Change, Difference, PartitionChange, SourceChange
from pipeline.audit.diff.report import as_json, lines

__all__ = [
    "Change",
    "Difference",
    "PartitionChange",
    "SourceChange",
    "as_json",
    "compare_declarations",
    "compare_sources",
    "diff",
    "lines",
]
