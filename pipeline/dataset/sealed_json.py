"""Sealed JSON: values in one spelling with their own digest, so a change of any byte is detected.

They are spelled and parsed in pieces: those of 70,000 partitions have 140 MB, and as JSON values
several times as much. What there are many of are records, spelled and parsed some hundred at once.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, Final, Protocol, TypeVar

import orjson

from pipeline.core.digest import FileDigest, canonical_json
from pipeline.core.errors import MismatchError
from pipeline.core.json_record import from_json, parse_json, stored_fields, to_json
from pipeline.dataset.partition_counts import PartitionRecord

_MANY: Final = (FileDigest, PartitionRecord)
_RECORDS_AT_ONCE: Final = 256
_BYTES_AT_ONCE: Final = 1 << 16
# From this level on a value is one piece.
_DEEPEST: Final = 4
_KEY: Final = re.compile(rb'("(?:[^"\\]|\\.)*"): ')


class _NamesPaths(Protocol):
    def paths(self) -> Iterable[str]: ...


Sealed = TypeVar("Sealed", bound=_NamesPaths)

MIXTURE_SUFFIXES: Final = (".yaml", ".yml")
_HINT = "get it again, or make it again with this version of ettin-data"

_Group = Mapping[Any, Any] | Sequence[Any]
"""Some children of an object or a list in a row."""


def seal(content: Mapping[str, Any]) -> bytes:
    """Serialise JSON values, or dataclasses, in their one spelling, their digest added."""
    return b"".join(sealed_pieces(content))


def sealed_pieces(content: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield what `seal` returns in pieces, of which none has more than some hundred records."""
    content = {name: value for name, value in content.items() if name != "digest"}
    digest = hashlib.sha256()
    for piece in _pieces(content, 0, is_indented=False):
        digest.update(piece)
    yield from _pieces({**content, "digest": digest.hexdigest()}, 0, is_indented=True)
    yield b"\n"


def is_sealed(content: Mapping[str, Any], data: bytes) -> bool:
    """Return whether these bytes are what `seal` makes of JSON values."""
    start = 0
    for piece in sealed_pieces(content):
        if not data.startswith(piece, start):
            return False
        start += len(piece)
    return start == len(data)


def parse_pieces(data: bytes) -> Any:
    """Return the values of sealed JSON, of which many file digests and partitions are records.

    What is not sealed may be parsed as something else, which `is_sealed` then tells.

    Raises: ValueError as `parse_json`.
    """
    try:
        return _value(data, 0, len(data) - data.endswith(b"\n"), 0)
    except ValueError:
        return parse_json(data)


def _pieces(value: Any, level: int, *, is_indented: bool) -> Iterator[bytes]:
    """Yield the JSON of a value, of which a dataclass becomes JSON only as it is reached."""
    if is_dataclass(value):
        value = stored_fields(value)
    if level == _DEEPEST or not isinstance(value, Mapping | list | tuple) or not value:
        yield _spelled(value, level, is_indented=is_indented)
        return
    is_mapping = isinstance(value, Mapping)
    names = sorted(value) if is_mapping else range(len(value))
    line = b"\n" + b" " * (level + 1) if is_indented else b""
    are_many = all(isinstance(value[name], _MANY) for name in names)
    size = _RECORDS_AT_ONCE if are_many else 1
    yield b"{" if is_mapping else b"["
    for start in range(0, len(names), size):
        yield b"," + line if start else line
        children = {name: value[name] for name in names[start : start + size]}
        if are_many:
            group = children if is_mapping else list(children.values())
            yield _inside(group, level, is_indented=is_indented)
            continue
        for name, child in children.items():
            if is_mapping:
                yield json.dumps(name).encode() + (b": " if is_indented else b":")
            yield from _pieces(child, level + 1, is_indented=is_indented)
    yield line[:-1] + (b"}" if is_mapping else b"]")


def _spelled(value: Any, level: int, *, is_indented: bool) -> bytes:
    if not is_indented:
        return canonical_json(to_json(value))
    # A line break within text is escaped.
    spelled = json.dumps(to_json(value), indent=1, sort_keys=True)
    return spelled.replace("\n", "\n" + " " * level).encode()


def _inside(records: _Group, level: int, *, is_indented: bool) -> bytes:
    """Return the JSON of records in a container at a level, without its brackets."""
    option = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_SORT_KEYS
    if is_indented:
        option |= orjson.OPT_INDENT_2
    try:
        data = orjson.dumps(records, stored_fields, option)
    except TypeError:  # An integer of more than 64 bits, or half of a surrogate pair.
        data = b"\x7f"
    if not data.isascii() or b"\x7f" in data:  # This `orjson` leaves as it is.
        return _spelled(records, level, is_indented=is_indented)[1:-1].strip()
    data = data[1:-1].strip()
    if is_indented:
        # Tabs are escaped within text, so these are those of the lines.
        two, one = b"\n  ", b"\n" + b"\t" * (level + 1)
        while two in data:
            data = data.replace(two, one)
            two, one = one + b"  ", one + b"\t"
        data = data.replace(b"\t", b" ")
    return data


def _value(data: bytes, start: int, stop: int, level: int) -> Any:
    """Return the value of `data[start:stop]`, which is indented as at this level."""
    brackets = data[start : start + 1] + data[stop - 1 : stop]
    if level == _DEEPEST or stop - start <= _BYTES_AT_ONCE or brackets not in (b"{}", b"[]"):
        return parse_json(data[start:stop])
    groups = _groups(data, start, stop, level)
    if brackets == b"{}":
        return {name: child for group in groups for name, child in group.items()}
    return [child for group in groups for child in group]


def _groups(data: bytes, start: int, stop: int, level: int) -> Iterator[Any]:
    """Yield some children at a time of the object or list that is `data[start:stop]`."""
    opening, closing = data[start : start + 1], data[stop - 1 : stop]
    first, end = start + level + 3, stop - level - 2
    # The line of a child is indented by no more than this, so it starts as the first one does.
    between = b",\n" + b" " * (level + 1) + data[first : first + 1]
    while first < end:
        last = _find(data, between, first, end)
        if last - first <= _BYTES_AT_ONCE or level + 1 == _DEEPEST:
            yield _group(opening + data[first:last] + closing, data[first:last], level)
        elif opening == b"[":
            yield [_value(data, first, last, level + 1)]
        else:
            key = _KEY.match(data, first, last)
            if key is None:
                raise ValueError("got no key")
            yield {parse_json(key[1]): _value(data, key.end(), last, level + 1)}
        first = last + len(between) - 1


def _find(data: bytes, between: bytes, first: int, end: int) -> int:
    """Return the end of as many children as are parsed at once, at least of one."""
    one = data.find(between, first, end)
    if one < 0:
        return end
    some = data.rfind(between, one, min(first + _BYTES_AT_ONCE, end))
    return max(one, some)


def _group(data: bytes, inside: bytes, level: int) -> Any:
    """Return a group of children as records, if they are spelled as such, or as they are."""
    try:
        values: Any = orjson.loads(data)
    except ValueError:
        return parse_json(data)
    children = list(values.values()) if isinstance(values, dict) else values
    for kind in _MANY:
        try:
            records: list[Any] = [from_json(kind, child) for child in children]
        except ValueError:
            continue
        group = dict(zip(values, records, strict=True)) if isinstance(values, dict) else records
        if _inside(group, level, is_indented=True) == inside:
            return group
    return parse_json(data)


def parse_sealed(
    data: bytes, where: str, kinds: Mapping[str, type[Sealed]], check: Callable[[Sealed], None]
) -> Sealed:
    """Return a record of one of some formats, as `seal` serialises them.

    check: raises ValueError for values that contradict each other. Raises: MismatchError.
    """
    try:
        content = parse_pieces(data)
        written = content.pop("format")
        kind = kinds.get(str(written))
        is_whole = kind is not None and is_sealed({"format": written, **content}, data)
        code = content.get("code", written)
    except ValueError as error:
        if where.endswith(MIXTURE_SUFFIXES):
            raise MismatchError(
                f"{where}: is a mixture file, expected a manifest",
                "name the output of a build, or its manifest.json",
            ) from error
        raise MismatchError(f"{where}: is damaged: not valid JSON", _HINT) from error
    except (TypeError, KeyError, AttributeError) as error:
        raise MismatchError(
            f"{where}: got JSON without a format, expected {' or '.join(kinds)}", _HINT
        ) from error
    if kind is None:
        raise MismatchError(
            f"{where}: got a manifest of format {written!r}, expected {' or '.join(kinds)}",
            "use the version of ettin-data that wrote it, or make it again with this one",
        )
    if not is_whole:
        raise MismatchError(f"{where}: is damaged: its digest does not match its content", _HINT)
    del content["digest"]
    try:
        manifest = from_json(kind, content)
        check(manifest)
        for path in manifest.paths():
            if not _is_inside(path):
                raise ValueError(f"got the path {path!r}, expected one inside the output")
    except ValueError as error:
        raise MismatchError(
            f"{where}: {error}",
            f"it was written by {code}: make it again with this version of ettin-data",
        ) from error
    return manifest


def _is_inside(path: str) -> bool:
    parts = set(path.split("/"))
    return ".." not in parts and bool(parts - {"", "."}) and not path.startswith("/")
