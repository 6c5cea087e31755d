"""Diff: two mixtures, manifests, outputs or orders -> what differs, in words and counts.

Outputs are compared by their manifests alone; no shard is read. An order without a manifest is
digested first. Two sides are compared in all that both of them have.
"""

from pipeline.audit.diff.difference import (
    Change,
    Difference,
    compare_declarations,
    compare_sources,
    diff,
)
from pipeline.audit.diff.report import as_json, lines, partition_text, value_text

__all__ = [
    "Change",
    "Difference",
    "as_json",
    "compare_declarations",
    "compare_sources",
    "diff",
    "lines",
    "partition_text",
    "value_text",
]
