"""Plain text: a file is one document, named after it."""

from collections.abc import Iterator

from pipeline.sources.readers.raw_file import Bounded, Columns, RawFile, Record, too_large


def read_text(file: RawFile, columns: Columns) -> Iterator[Record]:
    """Yield the whole text."""
    text = Bounded(file.max_document_bytes)
    for block in file.text():
        text.add(block)
    whole = text.take()
    if isinstance(whole, int):
        yield too_large(file.where(0), whole, file.max_document_bytes), 0
        return
    names = {} if columns.id is None else {columns.id: file.file.partition}
    yield {columns.text: whole, **names}, len(whole)
