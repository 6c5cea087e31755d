"""Sealed JSON: values in one spelling with their own digest, so a change of any byte is detected.

They are spelled in pieces: those of 70,000 partitions have 140 MB, and as JSON values several times
as much.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, Final

from pipeline.core.digest import canonical_json
from pipeline.core.json_record import stored_fields, to_json

# From this level on a value is one piece: a partition of a source, or what describes a file.
_DEEPEST: Final = 4
_PIECES_AT_ONCE: Final = 4096


def seal(content: Mapping[str, Any]) -> bytes:
    """Serialise JSON values, or dataclasses, in their one spelling, their digest added."""
    return b"".join(sealed_pieces(content))


def sealed_pieces(content: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield what `seal` returns in pieces of about a megabyte."""
    content = {name: value for name, value in content.items() if name != "digest"}
    digest = hashlib.sha256()
    for piece in _pieces(content, 0, _canonical, is_indented=False):
        digest.update(piece.encode())
    content["digest"] = digest.hexdigest()
    pieces: list[str] = []
    for piece in _pieces(content, 0, _indented, is_indented=True):
        pieces.append(piece)
        if len(pieces) == _PIECES_AT_ONCE:
            yield "".join(pieces).encode()
            pieces.clear()
    yield "".join([*pieces, "\n"]).encode()


def is_sealed(content: Mapping[str, Any], data: bytes) -> bool:
    """Return whether these bytes are what `seal` makes of JSON values."""
    start = 0
    for piece in sealed_pieces(content):
        if not data.startswith(piece, start):
            return False
        start += len(piece)
    return start == len(data)


def _pieces(
    value: Any, level: int, spell: Callable[[Any], str], *, is_indented: bool
) -> Iterator[str]:
    """Yield the JSON of a value, of which a dataclass becomes JSON only as it is reached."""
    if is_dataclass(value):
        value = stored_fields(value)
    if level == _DEEPEST or not isinstance(value, Mapping | list | tuple) or not value:
        # A line break within text is escaped.
        yield spell(to_json(value)).replace("\n", "\n" + " " * level)
        return
    is_mapping = isinstance(value, Mapping)
    between = "\n" + " " * (level + 1) if is_indented else ""
    colon = ": " if is_indented else ":"
    yield "{" if is_mapping else "["
    comma = ""
    for child in sorted(value) if is_mapping else value:
        yield f"{comma}{between}{spell(child)}{colon}" if is_mapping else f"{comma}{between}"
        inner = value[child] if is_mapping else child
        yield from _pieces(inner, level + 1, spell, is_indented=is_indented)
        comma = ","
    yield f"{between[:-1]}{'}' if is_mapping else ']'}"


def _canonical(value: Any) -> str:
    return canonical_json(value).decode()


def _indented(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True)
