"""CSV and TSV: a document a row, after a row that names the columns.

Fields are quoted as in RFC 4180, in TSV too, as pandas and `datasets` write both. A field is text;
nothing is made a number.
"""

import csv
from collections.abc import Iterator
from typing import Any, Final

from pipeline.core.errors import DocumentError
from pipeline.sources.readers.raw_file import (
    SKIP_HINT,
    Bounded,
    Columns,
    DamagedError,
    RawFile,
    Record,
)

_DELIMITERS: Final = {"csv": ",", "tsv": "\t"}


def read_table(file: RawFile, columns: Columns) -> Iterator[Record]:
    """Yield each row that is not blank.

    Raises: InputError for columns that are missing; DamagedError for quotes that are not closed.
    """
    # Of the process, and at its default no text may have more than 131,072 characters.
    csv.field_size_limit(file.max_document_bytes)
    kind = file.file.kind.split(".")[1]
    lines = _Lines(file)
    rows = csv.reader(lines, delimiter=_DELIMITERS[kind], strict=True)
    try:
        names = next(filter(None, rows), [])
        if names:
            columns.check(file.file.declared, names)
        lines.num_bytes = 0
        for row, values in enumerate(filter(None, rows)):
            yield _record(names, values, columns, file.where(row)), lines.num_bytes
            lines.num_bytes = 0
    except csv.Error as error:
        raise DamagedError(kind.upper(), error) from error


def _record(
    names: list[str], values: list[str], columns: Columns, where: str
) -> dict[str, Any] | DocumentError:
    if len(values) != len(names):
        got = f"a row of {len(values)} fields, expected {len(names)}, as the first row names"
        return DocumentError(f"{where}: got {got}", SKIP_HINT, "invalid_row")
    needed = columns.text, columns.id
    return {
        name: _as_stored(value) if name in needed else _as_text(value)
        for name, value in zip(names, values, strict=True)
    }


def _as_stored(value: str) -> str | bytes:
    """Return a value as text, or as its bytes where they are no UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape")
    return value


def _as_text(value: str) -> str:
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class _Lines:
    """The lines of a file with their ends; those of one row have a limit, as a document has."""

    def __init__(self, file: RawFile) -> None:
        self._kind = file.file.kind.split(".")[1].upper()
        self._limit = file.max_document_bytes
        self._lines = _split(file.text(), self._limit)
        self.num_bytes = 0
        """Bytes since it was last set to 0."""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.num_bytes += line if isinstance(line, int) else len(line)
        if isinstance(line, int) or self.num_bytes > self._limit:
            # The next row cannot be found: a quote that is not closed takes all that follows.
            raise DamagedError(
                self._kind,
                f"a row of more than {self._limit:,} bytes (max_document_bytes); is a quote open?",
            )
        return line.decode("utf-8", "surrogateescape")


def _split(blocks: Iterator[bytes], limit: int) -> Iterator[bytes | int]:
    """Yield lines with their ends, or the size of one above `limit`."""
    line = Bounded(limit)
    for block in blocks:
        first, *rest = block.split(b"\n")
        line.add(first)
        for part in rest:
            line.add(b"\n")
            yield line.take()
            line.add(part)
    if not line.is_empty:
        yield line.take()
