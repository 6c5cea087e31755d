"""One input file -> its documents, in file order, in blocks of bounded size.

A document that cannot be read goes to `on_bad`; a file that is truncated or whose checksum is wrong
is always an error. `datatrove`'s readers are not used: they log what does not parse and go on, so
that neither rows nor counts can be trusted (0.10.1, `pipeline/readers/{jsonl,base}.py`).
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from pipeline.core.document import Document
from pipeline.core.errors import DocumentError, InputError
from pipeline.sources.partitions import InputFile
from pipeline.sources.readers.id_decoder import Decoding, IdDecoder
from pipeline.sources.readers.jsonl import read_jsonl
from pipeline.sources.readers.mds import read_mds
from pipeline.sources.readers.parquet import read_parquet
from pipeline.sources.readers.raw_file import (
    SKIP_HINT,
    Columns,
    DamagedError,
    RawFile,
    Record,
    invalid_utf8,
)
from pipeline.sources.readers.text import read_text
from pipeline.storage import PULL_AGAIN, RESTORE

READERS: Final[dict[str, Callable[[RawFile, Columns], Iterator[Record]]]] = {
    "json": read_jsonl,
    "jsonl": read_jsonl,
    "mds": read_mds,
    "parquet": read_parquet,
    "txt": read_text,
}
"""By the first suffix of a file."""
# Enough text to keep the compiled stages busy, small enough to bound a worker's memory.
BLOCK_BYTES = 4 << 20
# About what Python keeps for a document beside its text: the objects of its id and fields.
_DOCUMENT_BYTES = 512

OnBad = Callable[[DocumentError], None]


class FileReader:
    """Reads one file once."""

    def __init__(
        self,
        file: InputFile,
        *,
        text_field: str,
        id_field: str | None,
        decoding: Decoding | None = None,
    ) -> None:
        self._file = file
        self._raw = RawFile(file)
        self._columns = Columns(text=text_field, id=id_field, has_ids=decoding is not None)
        self._decoder = None if decoding is None else IdDecoder(decoding)
        self.num_rows = 0

    @property
    def sha256(self) -> str:
        """The digest of the file as stored, once it is read."""
        return self._raw.sha256

    def blocks(self, on_bad: OnBad) -> Iterator[list[Document]]:
        """Yield documents in file order, about `BLOCK_BYTES` of records at a time.

        `on_bad` is called for each document that cannot be read; it raises, or returns to go on.
        Raises: InputError when the file itself is damaged.
        """
        block: list[Document] = []
        num_bytes = 0
        for row, (record, record_bytes) in enumerate(self._records()):
            self.num_rows = row + 1
            try:
                if isinstance(record, DocumentError):
                    raise record
                block.append(self._document(row, record))
            except DocumentError as error:
                on_bad(error)
                continue
            # Metadata counts too, and so does what Python keeps beside it.
            num_bytes += record_bytes + _DOCUMENT_BYTES
            if num_bytes >= BLOCK_BYTES:
                yield block
                block, num_bytes = [], 0
        if block:
            yield block

    def _records(self) -> Iterator[Record]:
        try:
            yield from READERS[self._file.kind.split(".")[1]](self._raw, self._columns)
        except DamagedError as error:
            raise InputError(
                f"{self._file.declared}: broken {error.form} after document {self.num_rows}:"
                f" {error.reason}",
                PULL_AGAIN if "://" in self._file.declared else RESTORE,
            ) from error

    def _document(self, row: int, fields: dict[str, Any]) -> Document:
        where = self._raw.where(row)
        if self._columns.id is None:
            id_ = f"{self._file.partition}/{row}"
        else:
            id_ = _id(fields.pop(self._columns.id, None), self._columns.id, where)
        value = fields.pop(self._columns.text, None)
        if self._decoder is not None and isinstance(value, np.ndarray):
            text = self._decoder.decode(value, where)
        else:
            hint = "name the field that holds the text with from.text"
            text = _string(value, self._columns.text, where, "text", hint, "no_text")
        if not text:
            named = json.dumps(id_, ensure_ascii=False)  # on one line, whatever is in it
            raise DocumentError(f"{where}: id {named} has an empty text", SKIP_HINT, "empty_text")
        return Document(id=id_, text=text, row=row, metadata=fields)


def _id(value: object, field: str, where: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    hint = "name the field with from.id, or write `id: null` to make ids"
    return _string(value, field, where, "an id", hint, "no_id")


def _string(value: object, field: str, where: str, expected: str, hint: str, code: str) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise invalid_utf8(error, where) from error
    if isinstance(value, str):
        return value
    name = type(value).__name__
    kind = "missing" if value is None else f"an {name}" if name == "int" else f"a {name}"
    raise DocumentError(
        f'{where}: field "{field}" is {kind}, expected {expected}', f"{hint}; {SKIP_HINT}", code
    )
