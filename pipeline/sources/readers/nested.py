"""Fields inside other fields: `meta.text` is field `text` of the object in field `meta`."""

from collections.abc import Iterator
from typing import Any


def lift(record: dict[str, Any], name: str | None) -> None:
    """Move a field inside others to the record itself, under its whole name.

    A field that has the whole name already, dots included, is the one that is meant.
    """
    if name is None or "." not in name or name in record:
        return
    *outer, last = name.split(".")
    inside: Any = record
    for part in outer:
        inside = inside.get(part) if isinstance(inside, dict) else None
    if isinstance(inside, dict) and last in inside:
        record[name] = inside.pop(last)


def names_in(record: dict[str, Any]) -> Iterator[str]:
    """Yield the names of fields, and of those one level inside them."""
    for name, value in record.items():
        yield name
        if isinstance(value, dict):
            yield from (f"{name}.{inner}" for inner in value)
