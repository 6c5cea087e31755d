"""Report: a difference -> lines for a person, and values for a machine."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from pipeline.audit.diff.difference import (
    Change,
    Difference,
    OrderChange,
    PartitionChange,
    SourceChange,
)

# So many windows, or partitions of a source, are named; the rest are counted.
_MOST_NAMED = 10


def as_json(difference: Difference) -> dict[str, Any]:
    """Return a difference as JSON-able values."""
    return {**asdict(difference), "equal": difference.equal}


def lines(difference: Difference) -> list[str]:
    """Return a difference as lines of text, one for each thing that differs."""
    found = [f"declaration: {change_text(change)}" for change in difference.declaration or ()]
    for source in difference.sources or ():
        found += _source(source)
    if difference.order is not None:
        found += _order(difference.order)
    files = difference.files
    if files is not None and not files.added == files.removed == files.changed == 0:
        found.append(
            f"files: {files.added:,} added, {files.removed:,} removed, {files.changed:,} changed, "
            f"{files.same:,} the same"
        )
    return found or [f"{difference.old}, {difference.new}: nothing differs"]


def change_text(change: Change) -> str:
    """Say in words how a value differs."""
    old, new = spelled(change.old), spelled(change.new)
    text = f"{change.key}: {old} -> {new}"
    if (
        isinstance(change.old, int)
        and isinstance(change.new, int)
        and not isinstance(change.old, bool)
    ):
        text += f" ({change.new - change.old:+,})"
    return text


def spelled(value: Any) -> str:
    """Return a value of a declaration, or a count, in words."""
    if value is None:
        return "nothing"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, dict):
        return "declared"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _source(source: SourceChange) -> Iterator[str]:
    yield f"source {source.name}: {source.what}"
    for change in source.counts:
        yield f"source {source.name}: {change_text(change)}"
    for partition in source.partitions[:_MOST_NAMED]:
        yield f"source {source.name}: {partition_text(partition)}"
    more = len(source.partitions) - _MOST_NAMED
    if more > 0:
        yield f"source {source.name}: and {more:,} more partitions"


def partition_text(partition: PartitionChange) -> str:
    """Say in words how a partition differs."""
    old, new = partition.old_rows, partition.new_rows
    rows = f"{old:,} -> {new:,} rows ({new - old:+,})" if old != new else f"{new:,} rows"
    words = {
        "added": "was added",
        "removed": "was removed",
        "other input": "was made from other bytes",
        "other shards": "was made otherwise from the same bytes",
    }
    return f"{partition.folder} {words[partition.what]}, {rows}"


def _order(order: OrderChange) -> Iterator[str]:
    for change in order.counts:
        yield f"order: {change_text(change)}"
    if order.same_sequence:
        return
    if order.first_rows is not None:
        start, stop = order.first_rows
        rows = "the same rows in another order" if order.same_multiset else "other rows"
        yield f"order: {rows}; the first difference is among rows {start:,}:{stop:,}"
    names = ", ".join(order.other_windows[:_MOST_NAMED])
    more = len(order.other_windows) - _MOST_NAMED
    names += f" and {more:,} more" if more > 0 else ""
    if order.other_windows:
        yield f"order: {order.num_same_windows:,} windows hold the same rows; others: {names}"
