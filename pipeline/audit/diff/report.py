"""Report: a difference -> lines for a person, and values for a machine."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from pipeline.audit.diff.difference import (
    Change,
    Difference,
    OrderChange,
    PartitionChange,
    SourceChange,
)

_MOST_NAMED = 10
_PARTITION_WORDS = {
    "added": "was added",
    "removed": "was removed",
    "other input": "was made from other bytes",
    "other shards": "was made differently from the same bytes",
}


def as_json(difference: Difference) -> dict[str, Any]:
    """Return a difference as JSON-able values."""
    return {**asdict(difference), "equal": difference.equal}


def lines(difference: Difference) -> list[str]:
    """Return a difference as lines of text, one for each thing that differs."""
    found = [f"declaration: {_change_text(change)}" for change in difference.declaration or ()]
    for source in difference.sources or ():
        found += [f"source {source.name}: {text}" for text in _source_texts(source)]
    if difference.order is not None:
        found += [f"order: {text}" for text in _order_texts(difference.order)]
    files = difference.files
    if files is not None and not files.equal:
        found.append(
            f"files: {files.added:,} added, {files.removed:,} removed, {files.changed:,} changed, "
            f"{files.same:,} the same"
        )
    return found or [f"{difference.old}, {difference.new}: nothing differs"]


def listed(items: Sequence[object], most: int, rest: str = "") -> str:
    """Return the first items as a list, and the number of all others: `a, b and 3 more`."""
    shown = ", ".join(f"{one:,}" if isinstance(one, int) else str(one) for one in items[:most])
    more = len(items) - most
    return f"{shown} and {more:,} more{rest}" if more > 0 else shown


def value_text(value: Any) -> str:
    """Return a value of a declaration, or a count, in words."""
    if value is None:
        return "nothing"
    if _is_number(value):
        return f"{value:,}"
    if isinstance(value, dict):
        return "declared"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def partition_text(partition: PartitionChange) -> str:
    """Say in words how a partition differs."""
    old, new = partition.old_rows, partition.new_rows
    rows = f"{old:,} -> {new:,} rows ({new - old:+,})" if old != new else f"{new:,} rows"
    return f"{partition.folder} {_PARTITION_WORDS[partition.what]}, {rows}"


def _change_text(change: Change) -> str:
    text = f"{change.key}: {value_text(change.old)} -> {value_text(change.new)}"
    if _is_number(change.old) and _is_number(change.new):
        text += f" ({change.new - change.old:+,})"
    return text


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _source_texts(source: SourceChange) -> Iterator[str]:
    yield source.what
    yield from map(_change_text, source.counts)
    yield from map(partition_text, source.partitions[:_MOST_NAMED])
    more = len(source.partitions) - _MOST_NAMED
    if more > 0:
        yield f"and {more:,} more partitions"


def _order_texts(order: OrderChange) -> Iterator[str]:
    yield from map(_change_text, order.counts)
    if order.same_sequence:
        return
    if order.first_rows is not None:
        start, stop = order.first_rows
        rows = "the same rows in another order" if order.same_multiset else "other rows"
        yield f"{rows}; the first difference is among rows {start:,}:{stop:,}"
    if order.other_windows:
        names = listed(order.other_windows, _MOST_NAMED)
        yield f"{order.num_same_windows:,} windows hold the same rows; others: {names}"
