"""JSON text -> its values, and frozen dataclasses <-> the values they are stored as, strictly.

A field is stored under its own name, or under that of `key`, and left out where it has its default.
Errors say where, such as `order.ledger.nodes: got 3, expected text`.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, field, fields, is_dataclass
from enum import Enum
from functools import cache
from itertools import repeat
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
_MOST_LEVELS = 100
_NAMES: Final[Mapping[Any, str]] = {
    str: "text", int: "an integer", bool: "true or false", tuple: "a list", NoneType: "null"
}  # fmt: skip


class Absent(Enum):
    """The type of `ABSENT`, the default of a key that may be missing where null means something."""

    ABSENT = 0


ABSENT: Final = Absent.ABSENT


def key(name: str) -> Any:
    """Return a field that is stored under another name, such as a word that Python reserves."""
    return field(metadata={"key": name})


def parse_json(data: bytes, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """Return the value of a file of JSON that a program of ours, or one like it, writes.

    object_hook: makes of each object what takes its place, as `compact` does.

    Raises: ValueError for what no such file has: text that is not JSON in UTF-8, a number that is
    not finite, half of a surrogate pair, and values nested deeper than 100 levels.
    """
    try:
        value = json.loads(data, parse_constant=_refuse_constant, object_hook=object_hook)
    except RecursionError as error:
        raise ValueError("got values nested too deeply") from error
    if re.search(rb"\\u[dD]", data):
        json.dumps(value, ensure_ascii=False, default=to_json).encode()
    level = [value]
    for _ in range(_MOST_LEVELS):
        level = [child for one in level for child in _children(one)]
        if not level:
            return value
    raise ValueError("got values nested too deeply")


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"got {name}, expected a finite number")


def to_json(value: Any) -> Any:
    """Return a dataclass, or a collection of them, as JSON values."""
    if is_dataclass(value) and not isinstance(value, type):
        value = stored_fields(value)
    if isinstance(value, Mapping):
        return {name: to_json(child) for name, child in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(child) for child in value]
    return value


def stored_fields(record: Any) -> dict[str, Any]:
    """Return the values of a dataclass by the keys that they are stored under."""
    kind: Any = type(record)
    found = ((name, getattr(record, attribute), default)
             for name, attribute, _, default in _fields(kind))  # fmt: skip
    return {name: child for name, child, default in found if child != default}


def compact(kinds: Iterable[Any], value: dict[str, Any]) -> Any:
    """Return an object as the first of some dataclasses that it is spelled as, else as it is.

    It then takes a tenth of the memory; `to_json` gives the object back, and `from_json` takes it.
    """
    for kind in kinds:
        names = [name for name, *_ in _fields(kind)]
        if value.keys() <= set(names) and names[-1] in value:
            try:
                record: object = from_json(kind, value)
            except ValueError:
                continue
            if to_json(record) == value:
                return record
    return value


def from_json(kind: type[T], value: object, where: str = "") -> T:
    """Return JSON values as a dataclass. Raises: ValueError for what is not as it declares."""
    return cast(T, _read(kind, value, where))


def _read(kind: Any, value: Any, where: str) -> Any:
    if kind is Any:
        return to_json(value)
    if type(value) is kind:
        return value
    if is_dataclass(kind) and isinstance(value, dict):
        return _read_fields(kind, value, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        # One type, which may be null or absent.
        if value is None and NoneType in arguments:
            return None
        return _read(arguments[0], value, where)
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, list):
        kinds: Iterable[Any] = repeat(arguments[0]) if arguments[-1] is ... else arguments
        if arguments[-1] is ... or len(value) == len(arguments):
            children = enumerate(zip(kinds, value, strict=False))
            return tuple(_read(one, child, f"{where}[{i}]") for i, (one, child) in children)
    if origin is Mapping and isinstance(value, dict):
        return {
            name: _read(arguments[1], child, f"{where}.{name}") for name, child in value.items()
        }
    raise _error(where, json.dumps(to_json(value))[:40], _expected(kind))


def _read_fields(kind: Any, value: dict[str, Any], where: str) -> Any:
    given = {}
    for name, attribute, type_, default in _fields(kind):
        if name in value:
            given[attribute] = _read(type_, value[name], f"{where}.{name}")
        elif default is MISSING:
            raise _error(f"{where}.{name}", "nothing", _expected(type_))
    if len(given) < len(value):
        known = [name for name, *_ in _fields(kind)]
        unknown = next(name for name in value if name not in known)
        raise _error(f"{where}.{unknown}", "an unknown key", " or ".join(known))
    return kind(**given)


@cache
def _fields(kind: Any) -> list[tuple[str, str, Any, Any]]:
    """Return the key, name, type and default of each field."""
    types = get_type_hints(kind)
    return [
        (one.metadata.get("key", one.name), one.name, types[one.name], one.default)
        for one in fields(kind)
    ]


def _expected(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        nullable = " or null" if NoneType in arguments else ""
        return f"{_expected(arguments[0])}{nullable}"
    if origin is Literal:
        return " or ".join(map(json.dumps, arguments))
    return _NAMES.get(origin or kind, "an object")


def _error(where: str, got: str, expected: str) -> ValueError:
    return ValueError(f"{where.removeprefix('.')}: got {got}, expected {expected}")
