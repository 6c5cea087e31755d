"""Declarations: how two builds were declared differently, by their manifests; no row is read."""

import re

from pipeline.audit.diff import (
    compare_declarations,
    compare_sources,
    listed,
    partition_text,
    value_text,
)
from pipeline.audit.verify.comparison import Comparison, Finding, finding, shared
from pipeline.dataset import Manifest

# By the start of a key of the declaration, the kind of finding.
_KINDS = {
    "tokenizer.add_prefix_space": "prefix space",
    "tokenizer": "tokenizer",
    "chunk": "chunk algorithm",
    "order.view": "view",
    "order.max_seq_len": "view",
    "order.seed": "seed",
    "order.epoch": "epoch",
    "order.algorithm": "order algorithm",
    "shards.dtype": "dtype",
}
# These change neither rows nor their order.
_WITHOUT_EFFECT = re.compile(
    r"name|phase|order\.window_tokens|order\.format|sources\.[^.]+\.category"
    r"|shards\.(size_limit|header_compression|index_compression)"
)
# What changes every partition, so that none is worth naming.
_EVERY_PARTITION = {"tokenizer", "prefix space", "chunk algorithm", "dtype"}
_MOST_NAMED = 20


@shared
def declared_findings(comparison: Comparison) -> list[Finding]:
    """Return how two builds were declared differently; nothing where one is no build."""
    theirs = comparison.target.manifest
    return [] if theirs is None else declared_differences(comparison.output.manifest, theirs)


def declared_differences(ours: Manifest, theirs: Manifest) -> list[Finding]:
    """Return a finding for each difference; of a pool that was put in order, the order's alone."""
    replayed = not (ours.sources and theirs.sources)
    found = []
    for change in compare_declarations(ours, theirs):
        if replayed and not change.key.startswith("order."):
            continue
        if not _WITHOUT_EFFECT.fullmatch(change.key):
            text = f"{change.key} is {value_text(change.old)} here, {value_text(change.new)} there"
            evidence = {"key": change.key, "ours": change.old, "theirs": change.new}
            found += finding(_kind(change.key), text, **evidence)
    if replayed:
        return found
    explained = {finding.kind for finding in found} & _EVERY_PARTITION
    return found + _partitions(ours, theirs, is_explained=bool(explained))


def _kind(key: str) -> str:
    kinds = (kind for start, kind in _KINDS.items() if f"{key}.".startswith(f"{start}."))
    return next(kinds, "mixture")


def _partitions(ours: Manifest, theirs: Manifest, *, is_explained: bool) -> list[Finding]:
    sources = compare_sources(ours, theirs)
    changed = [partition for source in sources for partition in source.partitions]
    found = []
    one, other = ours.order.num_samples, theirs.order.num_samples
    if one != other:
        changes = [(p.folder, p.new_rows - p.old_rows) for p in changed]
        by = [f"{folder} {change:+,}" for folder, change in changes if change]
        by_text = listed(by, _MOST_NAMED, " partitions")
        text = f"N is {one:,} here, {other:,} there ({other - one:+,}): {by_text}"
        found += finding("row count", text, ours=one, theirs=other)
    if is_explained:
        changed = [partition for partition in changed if partition.what != "other shards"]
    for partition in changed[:_MOST_NAMED]:
        found += finding(
            "partition",
            f"from here to there, {partition_text(partition)}",
            folder=partition.folder,
            what=partition.what,
            ours=partition.old_rows,
            theirs=partition.new_rows,
        )
    more = len(changed) - _MOST_NAMED
    if more > 0:
        found += finding("partition", f"and {more:,} more partitions differ")
    return found
