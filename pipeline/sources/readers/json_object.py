"""One JSON object -> its fields, whatever stands beside text and id.

`orjson` reads what is strict JSON and fits 64 bits. Python's `json` writes more (NaN, halves of
surrogate pairs), and other languages longer integers; an object with one of these is read again,
by `json`, and keeps such a number as it was written.
"""

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from math import isfinite
from typing import Any

import orjson

from pipeline.core.errors import DocumentError
from pipeline.sources.readers.raw_file import SKIP_HINT, Columns, invalid_utf8

_WIDE = 2**63
# What a character of a name may be written as: a slash with a backslash, any by its number.
_ESCAPED_KEY = re.compile(rb'\\[u/][^"\\]*"\s*:')


class Written(str):
    """A number as it was written, since neither float nor 64-bit integer is equal to it."""

    __slots__ = ()

    @property
    def is_integer(self) -> bool:
        """Whether it is one of decimal digits alone."""
        return self.removeprefix("-").isdigit()


def parse_object(
    data: bytes, where: str, columns: Columns, unit: str
) -> dict[str, Any] | DocumentError:
    """Return the fields of an object, or what is wrong with it.

    unit: what errors call the bytes, such as `a line`.
    """
    try:
        record: object = orjson.loads(data)
        reason = ""
    except orjson.JSONDecodeError as error:
        record, reason = None, str(error)
    if reason or _may_have_lost(record, data, columns):
        try:
            record = _parse_again(data, columns)
        except UnicodeDecodeError as invalid:
            return invalid_utf8(invalid, where)
        except _TwiceError as twice:
            got = f'an object with two fields "{twice}", expected one'
            return DocumentError(f"{where}: got {got}", SKIP_HINT, "duplicate_field")
        except (ValueError, RecursionError) as error:
            if not reason and isinstance(error, RecursionError):
                # `orjson` goes deeper, and it has read a dict.
                assert isinstance(record, dict)
                return record
            got = f"{unit} that is not JSON ({reason}), expected one object {unit}"
            return DocumentError(f"{where}: got {got}", SKIP_HINT, "invalid_json")
    if isinstance(record, dict):
        return record
    got = f"a JSON {type(record).__name__}, expected an object"
    return DocumentError(f"{where}: got {got}", SKIP_HINT, "invalid_json")


class _TwiceError(Exception):
    """A field that an object has twice."""


def _may_have_lost(record: object, data: bytes, columns: Columns) -> bool:
    """Whether `orjson` may have dropped a field of text or id, or made an integer a float."""
    return isinstance(record, dict) and (_has_twins(record, data, columns) or _has_wide(record))


def _has_twins(record: dict[str, Any], data: bytes, columns: Columns) -> bool:
    """Whether the bytes have text or id more often than the fields that were read.

    The text is passed over, which halves the time that reading takes: at least as many bytes as it
    has characters follow the last of its keys.
    """
    key, id_key = _key(columns.text), _key(columns.id)
    is_escaped = any(one in data for one in _escapes(columns))
    if is_escaped and (b"\\" in key + id_key or _ESCAPED_KEY.search(data)):
        return True  # or another field; `json` finds out
    inside = [name for name in (columns.text, columns.id) if name and name not in record]
    if any(
        data.count(_key(part)) > 1 for name in inside for part in name.split(".") if "." in name
    ):
        return True  # or elsewhere; `json` finds out
    text = record.get(columns.text)
    num_chars = len(text) if isinstance(text, str) else 0
    num_texts = data.count(key, 0, len(data) - num_chars)
    if num_texts == 1:
        at = data.find(key)
        num_ids = data.count(id_key, 0, at) + data.count(id_key, at + len(key) + num_chars)
    else:
        num_ids = data.count(id_key)
    num_ids *= columns.id is not None
    if num_texts <= 1 and num_ids <= 1:
        return False
    if is_escaped:
        return True  # or values that are written otherwise; `json` finds out
    # The same words may be keys and values further in, which are written again.
    others = orjson.dumps({name: record[name] for name in record if name != columns.text})
    return data.count(key) > 1 + others.count(key) or num_ids > others.count(id_key)


@lru_cache
def _escapes(columns: Columns) -> list[bytes]:
    """Return what every other spelling of text or id has in it: a character written otherwise.

    The longer a string, the faster it is searched for: two characters take longer than parsing.
    """
    names = f"{columns.text}{columns.id or ''}"
    return [b"\\u00" if names.isascii() else b"\\u", *[b"\\/"] * ("/" in names)]


@lru_cache
def _key(name: str | None) -> bytes:
    return orjson.dumps(name)


def _has_wide(record: dict[str, Any]) -> bool:
    """Whether a number anywhere may be an integer of more than 64 bits."""
    left: list[Iterable[Any]] = [record.values()]
    for values in left:  # which grows
        for value in values:
            kind = type(value)
            if kind is float and abs(value) >= _WIDE:
                return True
            if kind is list:
                left.append(value)
            elif kind is dict:
                left.append(value.values())
    return False


def _parse_again(data: bytes, columns: Columns) -> object:
    """Parse with `json`. Raises: ValueError, RecursionError or _TwiceError.

    A half of a surrogate pair is a ValueError in text and id only.
    """
    twins: dict[int, tuple[dict[str, Any], list[str]]] = {}  # with each object, to keep its id

    def make(fields: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(fields)
        if len(made) < len(fields):
            twins[id(made)] = made, [name for name, _ in fields]
        return made

    record: object = json.loads(
        data.decode(),
        object_pairs_hook=make,
        parse_constant=Written,
        parse_float=_float,
        parse_int=_int,
    )
    if isinstance(record, dict):
        for path in _paths(record, columns):
            value: Any = record
            for part in path:
                if id(value) in twins and twins[id(value)][1].count(part) > 1:
                    raise _TwiceError(".".join(path))
                value = value.get(part) if isinstance(value, dict) else None
            if isinstance(value, str):
                value.encode()  # a lone surrogate is no text
    return record


def _paths(record: dict[str, Any], columns: Columns) -> list[list[str]]:
    """Return where text and id are: in a field of the whole name, or else inside others."""
    needed = [name for name in (columns.text, columns.id) if name is not None]
    return [[name] if name in record else name.split(".") for name in needed]


def _float(written: str) -> float | Written:
    value = float(written)
    return value if isfinite(value) else Written(written)


def _int(written: str) -> int | Written:
    # Twenty characters pass any bound here, and keep int() away from its own limit.
    fits = len(written) <= 20 and -_WIDE <= int(written) < 2 * _WIDE
    return int(written) if fits else Written(written)
