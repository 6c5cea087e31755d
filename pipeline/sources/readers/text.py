"""Plain text: a file is one document, named after it."""

from collections.abc import Iterator

from pipeline.sources.readers.raw_file import Columns, RawFile, Record


def read_text(file: RawFile, columns: Columns) -> Iterator[Record]:
    """Yield the whole text."""
    whole = b"".join(file.unpacked())
    names = {} if columns.id is None else {columns.id: file.file.partition}
    yield {columns.text: whole, **names}, len(whole)
