"""One input file -> its documents, in file order, in blocks of bounded size.

A document that cannot be read goes to `on_bad`; a file that is truncated or whose checksum is wrong
is always an error. `datatrove`'s readers are not used: they log what does not parse and go on, so
that neither rows nor counts can be trusted (0.10.1, `pipeline/readers/{jsonl,base}.py`).
"""

import json
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from itertools import islice
from typing import Any, Final
from uuid import UUID

import numpy as np
import pyarrow.parquet as pq

from pipeline.config import MAX_DOCUMENT_BYTES, Origin
from pipeline.core.document import Document
from pipeline.core.errors import DocumentError, InputError
from pipeline.sources.partitions import InputFile
from pipeline.sources.readers.arrow_ipc import read_arrow
from pipeline.sources.readers.csv_table import read_table
from pipeline.sources.readers.id_decoder import Decoding, IdDecoder
from pipeline.sources.readers.json_object import Written
from pipeline.sources.readers.jsonl import read_jsonl
from pipeline.sources.readers.mds import read_mds
from pipeline.sources.readers.nested import lift, names_in
from pipeline.sources.readers.parquet import read_parquet
from pipeline.sources.readers.raw_file import (
    SKIP_HINT,
    Columns,
    DamagedError,
    RawFile,
    Record,
    invalid_utf8,
    too_large,
)
from pipeline.sources.readers.text import read_text
from pipeline.storage import restore_hint

READERS: Final[dict[str, Callable[[RawFile, Columns], Iterator[Record]]]] = {
    "arrow": read_arrow,
    "csv": read_table,
    "json": read_jsonl,
    "jsonl": read_jsonl,
    "md": read_text,
    "mds": read_mds,
    "parquet": read_parquet,
    "tsv": read_table,
    "txt": read_text,
}
"""By the first suffix of a file."""
# Enough text to keep the compiled stages busy, small enough to bound a worker's memory.
BLOCK_BYTES = 4 << 20
# About what Python keeps for a document beside its text: the objects of its id and fields.
_DOCUMENT_BYTES = 512
# Of a file whose fields are checked. A field that none of them has is likely to be misspelt.
_CHECKED_DOCUMENTS = 100
_FIELDS_NAMED = 20
_LONGEST_LINE: Final = 64 << 10
NAME_FIELD: Final = {
    "no_text": "name the field that holds the text with from.text",
    "no_id": "name the field with from.id",
}
"""What to do where a field is missing, by reason."""
_ANY: Final = "text"
"""What `read_fields` calls the one field of a file of plain text."""
_MAKE_IDS: Final = ", or write `id: null` to make ids"

OnBad = Callable[[DocumentError], None]


def check_fields(file: InputFile, origin: Origin) -> None:
    """Insist that among a file's first documents the fields of text and id occur.

    Raises: InputError when they do not, or the file is damaged or plainly of another kind.
    """
    columns = Columns(text=origin.text, id=origin.id, has_ids=origin.decode is not None)
    names: dict[str, None] = {}
    with closing(_read(RawFile(file, MAX_DOCUMENT_BYTES), columns)) as records:
        for record, _ in islice(records, _CHECKED_DOCUMENTS):
            if isinstance(record, dict):
                names.update(dict.fromkeys(names_in(record)))
            if {origin.text, origin.id} - {None} <= names.keys():
                return
    if names:
        columns.check(file.declared, list(names), "fields")


def read_fields(file: InputFile) -> Generator[Record, None, None]:
    """Yield the records of a file of which nobody has said which fields hold text and id.

    Raises: InputError when the file is damaged or plainly of another kind.
    """
    columns = Columns(text=_ANY, id=None, are_known=False)
    return _read(RawFile(file, MAX_DOCUMENT_BYTES), columns)


def first_line(file: InputFile) -> str:
    """Return the beginning of a file of text up to its first line end, or some of it.

    Where the file is damaged before that, nothing. Raises: InputError for a file of another kind.
    """
    head = b""
    try:
        for block in RawFile(file, MAX_DOCUMENT_BYTES).text():
            head += block
            if b"\n" in block or len(head) > _LONGEST_LINE:
                break
    except DamagedError:
        return ""
    return head.partition(b"\n")[0].decode(errors="replace").rstrip("\r")


class FileReader:
    """Reads one file once."""

    def __init__(
        self,
        file: InputFile,
        *,
        text_field: str,
        id_field: str | None,
        decoding: Decoding | None = None,
        max_document_bytes: int = MAX_DOCUMENT_BYTES,
        takes_empty: bool = False,
        block_bytes: int | None = None,
    ) -> None:
        """Prepare to read.

        takes_empty: whether an empty text is a document; block_bytes: of the records of a block,
        which is lost where the file turns out to be damaged.
        """
        self._block_bytes = BLOCK_BYTES if block_bytes is None else block_bytes
        self._takes_empty = takes_empty
        self._file = file
        self._raw = RawFile(file, max_document_bytes)
        self._columns = Columns(text=text_field, id=id_field, has_ids=decoding is not None)
        self._decoder = None if decoding is None else IdDecoder(decoding)
        self.num_rows = self.num_record_bytes = 0

    @property
    def sha256(self) -> str:
        """The digest of the file as stored, once it is read."""
        return self._raw.sha256

    @property
    def unpacked_per_stored_byte(self) -> Fraction | None:
        """How far what was read so far unpacks; None for formats that are not read in a row."""
        raw = self._raw
        return Fraction(raw.num_unpacked, raw.num_stored) if raw.num_stored else None

    @property
    def stored_bytes(self) -> float:
        """How many bytes of the file hold the documents read so far: all, once it is read."""
        size = self._file.path.stat().st_size
        if self._file.kind == ".parquet":
            return size * self.num_rows / max(self._num_rows_of_parquet, 1)
        unpacked = self.unpacked_per_stored_byte
        if self.sha256 or not unpacked:
            # Read to its end, or of a format whose records are stored as they are.
            return size if self.sha256 else self.num_record_bytes
        # With the end of each line.
        return float((self.num_record_bytes + self.num_rows) / unpacked)

    @cached_property
    def _num_rows_of_parquet(self) -> int:
        return int(pq.read_metadata(self._file.path).num_rows)

    def blocks(self, on_bad: OnBad) -> Iterator[list[Document]]:
        """Yield documents in file order, about `BLOCK_BYTES` of records at a time.

        `on_bad` is called for each document that cannot be read; it raises, or returns to go on.
        Raises: InputError when the file itself is damaged.
        """
        block: list[Document] = []
        num_bytes = 0
        for row, (record, record_bytes) in enumerate(_read(self._raw, self._columns)):
            self.num_rows = row + 1
            self.num_record_bytes += record_bytes
            try:
                if isinstance(record, DocumentError):
                    raise record
                block.append(self._document(row, record))
            except DocumentError as error:
                on_bad(error)
                continue
            # Metadata counts too, and so does what Python keeps beside it.
            num_bytes += record_bytes + _DOCUMENT_BYTES
            if num_bytes >= self._block_bytes:
                yield block
                block, num_bytes = [], 0
        if block:
            yield block

    def _document(self, row: int, fields: dict[str, Any]) -> Document:
        where, names = self._raw.where(row), self._columns
        id_ = f"{self._file.partition}/{row}" if names.id is None else _id(fields, names, where)
        value = fields.get(names.text)
        if self._decoder is not None and isinstance(value, np.ndarray):
            text = self._decoder.decode(value, where)
        else:
            text = _string(fields, names.text, where, names, "no_text")
        if not (text or self._takes_empty):
            named = json.dumps(id_, ensure_ascii=False)  # on one line, whatever is in it
            raise DocumentError(f"{where}: id {named} has an empty text", SKIP_HINT, "empty_text")
        # A character has at most four bytes of UTF-8.
        limit = self._raw.max_document_bytes
        if 4 * len(text) > limit and (num_bytes := len(text.encode())) > limit:
            raise too_large(where, num_bytes, limit)
        fields.pop(names.text)
        if names.id is not None:
            fields.pop(names.id, None)
        return Document(id=id_, text=text, row=row, metadata=fields)


def _read(raw: RawFile, columns: Columns) -> Generator[Record, None, None]:
    """Yield the records of a file. Raises: InputError."""
    num_rows = 0
    try:
        for record in READERS[raw.file.kind.split(".")[1]](raw, columns):
            if isinstance(record[0], dict):
                lift(record[0], columns.text)
                lift(record[0], columns.id)
            yield record
            num_rows += 1
    except DamagedError as error:
        raise InputError(
            f"{raw.file.declared}: broken {error.form} after document {num_rows}: {error.reason}",
            restore_hint(raw.file.declared),
        ) from error


def _id(fields: dict[str, Any], names: Columns, where: str) -> str:
    """Return an id as text: integers in decimal, whatever their size; bytes as UTF-8."""
    field = str(names.id)
    value = fields.get(field)
    if type(value) is str:
        return value
    if isinstance(value, Decimal) and value.is_finite() and value == int(value):
        value = int(value)
    if isinstance(value, int | UUID) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, Written) and value.is_integer:
        return str(value)
    return _string(fields, field, where, names, "no_id")


def _string(fields: dict[str, Any], field: str, where: str, names: Columns, reason: str) -> str:
    value = fields.get(field)
    if type(value) is str:  # nearly always
        return value
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise invalid_utf8(error, where) from error
    expected, hint = ("text", "") if reason == "no_text" else ("an id", _MAKE_IDS)
    meant = names.meant(field, names_in(fields)) or NAME_FIELD[reason]
    raise DocumentError(
        f'{where}: field "{field}" is {_kind(fields, field)}, expected {expected}',
        f"{meant}{hint}; {SKIP_HINT}",
        reason,
    )


def _kind(fields: Mapping[str, Any], field: str) -> str:
    if field not in fields:
        named = list(islice(fields, _FIELDS_NAMED))
        more = ", …" if len(fields) > len(named) else ""
        return f"missing among {', '.join(named)}{more}" if named else "missing"
    value = fields[field]
    if value is None:
        return "null"
    if isinstance(value, Written):
        return f"the number {value[:40]}"
    name = type(value).__name__
    return f"an {name}" if name == "int" else f"a {name}"
