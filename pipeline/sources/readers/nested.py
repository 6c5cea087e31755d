"""Fields inside other fields: `meta.text` is field `text` of the object in field `meta`."""

from collections.abc import Iterator
from typing import Any, Final

# Deeper ones are data and no names; a record may be nested as deep as its parser goes.
_MOST_LEVELS: Final = 4


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


def field_of(record: dict[str, Any], name: str) -> Any:
    """Return a field as `lift` finds it; None where there is none."""
    if name in record:
        return record[name]
    inside: Any = record
    for part in name.split("."):
        inside = inside.get(part) if isinstance(inside, dict) else None
    return inside


def names_in(record: dict[str, Any]) -> Iterator[str]:
    """Yield the names of fields, each followed by those inside it, a few levels deep."""
    yield from _names(record, "", _MOST_LEVELS)


def _names(record: dict[str, Any], outer: str, levels: int) -> Iterator[str]:
    for name, value in record.items():
        yield f"{outer}{name}"
        if isinstance(value, dict) and levels > 1:
            yield from _names(value, f"{outer}{name}.", levels - 1)
