"""JSON text -> its values, and frozen dataclasses <-> the values they are stored as, strictly.

A field is stored under its own name, or under that of `key`, and left out where it has its default.
Errors say where, such as `order.ledger.nodes: got 3, expected text`.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, field, fields, is_dataclass
from enum import Enum
from functools import cache, partial
from itertools import repeat
from operator import attrgetter
from types import NoneType, UnionType
from typing import (
    Any,
    Final,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

T = TypeVar("T")
_Where = str | tuple[Any, str]
"""The place of a value, as text or by the place of what holds it, so that it costs little."""
_Read = Callable[[Any, _Where], Any]
_MOST_LEVELS = 100
_SCALARS: Final = frozenset((str, int, bool, NoneType))
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


def parse_json(data: bytes) -> Any:
    """Return the value of a file of JSON that a program of ours, or one like it, writes.

    Raises: ValueError for what no such file has: text that is not JSON in UTF-8, a number that is
    not finite, half of a surrogate pair, and values nested deeper than 100 levels.
    """
    try:
        value = json.loads(data, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("got values nested too deeply") from error
    if re.search(rb"\\u[dD]", data):
        json.dumps(value, ensure_ascii=False).encode()
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
    if type(value) in _SCALARS:
        return value
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
    keys, read, defaults = _stored(kind)
    stored = dict(zip(keys, read(record), strict=False))
    for name, default in defaults:
        if stored[name] == default:
            del stored[name]
    return stored


@cache
def _stored(kind: Any) -> tuple[list[str], Callable[[Any], Any], list[tuple[str, Any]]]:
    """Return the keys of a dataclass, what reads the values, and the keys that may be left out."""
    found = _fields(kind)
    # Twice the first, since of one name alone the value is read without a tuple.
    read = attrgetter(*(one.name for one in found), found[0].name)
    defaults = [(one.key, one.default) for one in found if one.default is not MISSING]
    return [one.key for one in found], read, defaults


def from_json(kind: type[T], value: object, where: str = "") -> T:
    """Return JSON values as a dataclass. Raises: ValueError for what is not as it declares."""
    return cast(T, _reader(cast(Any, kind))(value, where))


@cache
def _reader(kind: Any) -> _Read:
    """Return what reads a value of a type, and takes where it is."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return lambda value, _: to_json(value)
    if is_dataclass(kind):
        return partial(_read_fields, kind)
    if origin in (Union, UnionType):
        # One type, which may be null or absent.
        read = _reader(arguments[0])
        if NoneType not in arguments:
            return read
        return lambda value, where: None if value is None else read(value, where)
    if origin is tuple:
        return partial(_read_list, kind, arguments)
    if origin is Mapping:
        return partial(_read_object, kind, _reader(arguments[1]))
    return partial(_read_scalar, kind)


def _read_scalar(kind: Any, value: Any, where: _Where) -> Any:
    if type(value) is kind or (get_origin(kind) is Literal and value in get_args(kind)):
        return value
    raise _wrong(where, value, kind)


def _read_list(kind: Any, arguments: Sequence[Any], value: Any, where: _Where) -> Any:
    is_any_length = arguments[-1] is ...
    if not isinstance(value, list) or not (is_any_length or len(value) == len(arguments)):
        raise _wrong(where, value, kind)
    kinds: Iterable[Any] = repeat(arguments[0]) if is_any_length else arguments
    children = enumerate(zip(kinds, value, strict=False))
    return tuple(_reader(one)(child, (where, f"[{i}]")) for i, (one, child) in children)


def _read_object(kind: Any, read: _Read, value: Any, where: _Where) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, value, kind)
    return {name: read(child, (where, f".{name}")) for name, child in value.items()}


def _read_fields(kind: Any, value: Any, where: _Where) -> Any:
    if type(value) is kind:
        return value
    if not isinstance(value, dict):
        raise _wrong(where, value, kind)
    given = {}
    for one in _fields(kind):
        if one.key in value:
            child = value[one.key]
            is_read = type(child) is one.type
            given[one.name] = child if is_read else one.read(child, (where, one.step))
        elif one.default is MISSING:
            raise _error((where, one.step), "nothing", _expected(one.type))
    if len(given) < len(value):
        known = [one.key for one in _fields(kind)]
        unknown = next(name for name in value if name not in known)
        raise _error((where, f".{unknown}"), "an unknown key", " or ".join(known))
    return kind(**given)


class _Field(NamedTuple):
    """A field of a dataclass."""

    key: str
    """What it is stored under."""
    name: str
    type: Any
    default: Any
    step: str
    """From where its dataclass is to where it is."""

    def read(self, value: Any, where: _Where) -> Any:
        return _reader(self.type)(value, where)


@cache
def _fields(kind: Any) -> list[_Field]:
    types = get_type_hints(kind)
    found = []
    for one in fields(kind):
        stored = one.metadata.get("key", one.name)
        found.append(_Field(stored, one.name, types[one.name], one.default, f".{stored}"))
    return found


def _expected(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        nullable = " or null" if NoneType in arguments else ""
        return f"{_expected(arguments[0])}{nullable}"
    if origin is Literal:
        return " or ".join(map(json.dumps, arguments))
    return _NAMES.get(origin or kind, "an object")


def _wrong(where: _Where, value: Any, kind: Any) -> ValueError:
    return _error(where, json.dumps(to_json(value))[:40], _expected(kind))


def _error(where: _Where, got: str, expected: str) -> ValueError:
    place = ""
    while not isinstance(where, str):
        where, step = where
        place = step + place
    return ValueError(f"{(where + place).removeprefix('.')}: got {got}, expected {expected}")
