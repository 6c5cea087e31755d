"""Declared: two manifests of builds -> what differs in how they were made; no row is read."""

import re
from collections.abc import Iterator

from pipeline.audit.diff.compare import compare_declarations, compare_sources
from pipeline.audit.diff.difference import Change
from pipeline.audit.diff.report import partition_text, spelled
from pipeline.audit.verify.comparison import Finding
from pipeline.dataset import Manifest

# By the start of a key of the declaration, the word for what it decides.
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
    r"name|phase|order\.window_tokens|order\.format|shards\.size_limit|sources\.[^.]+\.category"
)
# What makes every partition another, so that none is worth naming.
_EVERY_PARTITION = {"tokenizer", "prefix space", "chunk algorithm", "dtype"}
# So many partitions are named; the rest are counted.
_MOST_NAMED = 20


def declared_differences(ours: Manifest, theirs: Manifest) -> list[Finding]:
    """Return a finding for all that two builds were not made alike from.

    A pool that was brought into order says nothing of what it was made of; then orders alone are
    compared.
    """
    replayed = not (ours.sources and theirs.sources)
    found = []
    for change in compare_declarations(ours, theirs):
        if replayed and not change.key.startswith("order."):
            continue
        if not _WITHOUT_EFFECT.fullmatch(change.key):
            evidence = {"key": change.key, "ours": change.old, "theirs": change.new}
            text = f"{change.key} is {spelled(change.old)} here, {spelled(change.new)} there"
            found.append(Finding(kind=_kind(change), text=text, evidence=evidence))
    if replayed:
        return found
    explained = {finding.kind for finding in found} & _EVERY_PARTITION
    return found + list(_partitions(ours, theirs, is_explained=bool(explained)))


def _kind(change: Change) -> str:
    for start, kind in _KINDS.items():
        if change.key == start or change.key.startswith(f"{start}."):
            return kind
    return "mixture"


def _partitions(ours: Manifest, theirs: Manifest, *, is_explained: bool) -> Iterator[Finding]:
    sources = compare_sources(ours, theirs)
    changed = [partition for source in sources for partition in source.partitions]
    one, other = (side.order.num_samples for side in (ours, theirs))
    if one != other:
        differing = [p for p in changed if p.new_rows != p.old_rows]
        by = ", ".join(f"{p.folder} {p.new_rows - p.old_rows:+,}" for p in differing[:_MOST_NAMED])
        more = len(differing) - _MOST_NAMED
        yield Finding(
            kind="row count",
            text=f"N is {one:,} here, {other:,} there ({other - one:+,}): {by}"
            + (f" and {more:,} more partitions" if more > 0 else ""),
            evidence={"ours": one, "theirs": other},
        )
    if is_explained:
        changed = [partition for partition in changed if partition.what != "other shards"]
    for partition in changed[:_MOST_NAMED]:
        yield Finding(
            kind="partition",
            text=f"from here to there, {partition_text(partition)}",
            evidence={
                "folder": partition.folder,
                "what": partition.what,
                "ours": partition.old_rows,
                "theirs": partition.new_rows,
            },
        )
    if len(changed) > _MOST_NAMED:
        more = len(changed) - _MOST_NAMED
        yield Finding(kind="partition", text=f"and {more:,} more partitions differ")
