"""JSON lines: an object a line."""

from collections.abc import Iterator
from typing import Any

import orjson

from pipeline.core.errors import DocumentError
from pipeline.sources.readers.raw_file import SKIP_HINT, Columns, RawFile, Record, invalid_utf8


def read_jsonl(file: RawFile, columns: Columns) -> Iterator[Record]:
    """Yield the object of each line that is not blank, or what is wrong with the line."""
    for row, line in enumerate(_lines(file.unpacked())):
        yield _parse(line, file.where(row)), len(line)


def _lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield lines without their end, less those of white space alone, which hold no document."""
    parts: list[bytes] = []
    for block in blocks:
        first, *rest = block.split(b"\n")
        parts.append(first)
        if rest:
            *whole, last = rest
            for line in (b"".join(parts), *whole):
                if line.strip():
                    yield line
            parts = [last]
    line = b"".join(parts)
    if line.strip():
        yield line


def _parse(line: bytes, where: str) -> dict[str, Any] | DocumentError:
    try:
        record: object = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        try:
            line.decode()
        except UnicodeDecodeError as invalid:
            return invalid_utf8(invalid, where)
        got = f"a line that is not JSON ({error}), expected one object a line"
    else:
        if isinstance(record, dict):
            return record
        got = f"a JSON {type(record).__name__}, expected an object"
    return DocumentError(f"{where}: got {got}", SKIP_HINT, "invalid_json")
