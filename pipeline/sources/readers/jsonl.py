"""JSON: an object a line, or one array of objects."""

from collections.abc import Iterator
from itertools import chain

from pipeline.sources.readers.json_array import split_array
from pipeline.sources.readers.json_object import parse_object
from pipeline.sources.readers.raw_file import Bounded, Columns, RawFile, Record, too_large


def read_jsonl(file: RawFile, columns: Columns) -> Iterator[Record]:
    """Yield the object of each element or line that is not blank, or what is wrong with it."""
    first, blocks = _skip_space(file.text())
    is_array = first == b"["
    split = split_array if is_array else _lines
    limit = file.max_document_bytes
    for row, data in enumerate(split(blocks, limit)):
        where = file.where(row)
        if isinstance(data, int):
            yield too_large(where, data, limit), 0
        else:
            unit = "an element" if is_array else "a line"
            yield parse_object(data, where, columns, unit), len(data)


def _skip_space(blocks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return the first byte that is no white space, and the blocks from there."""
    for block in blocks:
        if block := block.lstrip():
            return block[:1], chain([block], blocks)
    return b"", iter(())


def _lines(blocks: Iterator[bytes], max_bytes: int) -> Iterator[bytes | int]:
    """Yield lines without their end, or the size of one above `max_bytes`.

    Those of white space alone hold no document and are left out.
    """
    line = Bounded(max_bytes)
    for block in blocks:
        # Zeros of zstd unpack to blank lines by the gigabyte: none is looked at by itself.
        if block.isspace() and line.is_empty:
            continue
        first, *rest = block.split(b"\n")
        line.add(first)
        for part in rest:
            whole = line.take()
            if isinstance(whole, int) or whole.strip():
                yield whole
            line.add(part)
    whole = line.take()
    if isinstance(whole, int) or whole.strip():
        yield whole
