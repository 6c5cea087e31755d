"""Read: one input file -> its documents, in file order, in blocks of bounded size.

JSON lines and MDS (plain, gzip, zstd), parquet and plain text. A document that cannot be read is an
error, or, where the mixture says `on_error: skip`, goes to `on_bad` and is counted by its reason. A
file that breaks off or whose checksum is wrong is always an error, since nobody can say what is
lost.

`datatrove`'s readers are not used: on a line that does not parse, and on a document without text,
they log and go on, so that neither rows nor counts can be trusted (0.10.1,
`datatrove/pipeline/readers/jsonl.py` and `base.py`); `tests/test_read.py` shows it.
"""

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from pipeline.core.digest import sha256_file
from pipeline.core.document import Document
from pipeline.core.errors import DocumentError, InputError
from pipeline.sources.mds import Decoding, IdDecoder, read_rows
from pipeline.sources.partitions import InputFile

# Enough text to keep the compiled stages busy, small enough to bound a worker's memory.
BLOCK_BYTES = 4 << 20
# 16 KiB of zstd can unpack to 160 MiB where lines repeat; a larger read gains nothing.
_READ_BYTES = 16 << 10
# Rows of parquet that are Python values at a time, and bytes of a column that are read ahead.
_PARQUET_ROWS = 128
_PARQUET_BUFFER_BYTES = 1 << 20
# About what Python keeps for a document beside its text: the objects of its id and fields.
_DOCUMENT_BYTES = 512
# The largest window that zstd can have; a frame made with `--long` needs it whole in memory.
_ZSTD_WINDOW_BYTES = 1 << 31
_PULL_AGAIN = "pull the file again"
SKIP_HINT = (
    "mend the document, or count such documents instead with `on_error: skip` (that is another "
    "mixture, so give it another --out)"
)

OnBad = Callable[[DocumentError], None]


class Reader:
    """Reads one file once; afterwards `sha256` is the digest of the file's bytes as stored."""

    def __init__(
        self,
        file: InputFile,
        *,
        text_field: str,
        id_field: str | None,
        decoding: Decoding | None = None,
    ) -> None:
        self._file = file
        self._text_field = text_field
        self._id_field = id_field
        self._decoder = None if decoding is None else IdDecoder(decoding)
        self.sha256 = ""
        self.num_rows = 0

    def blocks(self, on_bad: OnBad) -> Iterator[list[Document]]:
        """Yield documents in file order, about `BLOCK_BYTES` of records at a time.

        `on_bad` is called for each document that cannot be read; it raises, or returns to go on.
        Raises: InputError when the file itself is damaged.
        """
        kind = self._file.kind
        records: Iterator[tuple[bytes | dict[str, Any], int]] = self._stream_records()
        if kind == ".parquet":
            records = self._parquet_records()
        block: list[Document] = []
        num_bytes = 0
        for row, (record, record_bytes) in enumerate(records):
            self.num_rows = row + 1
            try:
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

    def _stream_records(self) -> Iterator[tuple[bytes | dict[str, Any], int]]:
        """Yield each line, each row of MDS or the whole text of a `.txt` file, and its size."""
        try:
            hasher = hashlib.sha256()
            text = _unpack(self._raw_blocks(hasher), self._file.kind)
            if self._file.kind.startswith(".txt"):
                whole = b"".join(text)
                yield whole, len(whole)
            elif self._file.kind.startswith(".mds"):
                yield from read_rows(
                    text,
                    self._file.declared,
                    text=self._text_field,
                    id_=self._id_field,
                    decodes=self._decoder is not None,
                )
            else:
                for line in _lines(text):
                    yield line, len(line)
            self.sha256 = hasher.hexdigest()
        except (EOFError, zlib.error, zstandard.ZstdError) as error:
            raise InputError(
                f"{self._file.declared}: broken compressed data after document {self.num_rows}: "
                f"{error}",
                _PULL_AGAIN,
            ) from error
        except OSError as error:
            raise InputError(
                f"{self._file.declared}: cannot be read: {error.strerror}",
                "make the file readable, or pull it again",
            ) from error

    def _raw_blocks(self, hasher: "hashlib._Hash") -> Iterator[bytes]:
        with self._file.path.open("rb", buffering=0) as raw:
            while block := raw.read(_READ_BYTES):
                hasher.update(block)
                yield block

    def _parquet_records(self) -> Iterator[tuple[dict[str, Any], int]]:
        """Yield each row and about its size in bytes."""
        path = self._file.path
        try:
            self.sha256 = sha256_file(path)
            with pq.ParquetFile(path, buffer_size=_PARQUET_BUFFER_BYTES) as parquet:
                names = parquet.schema_arrow.names
                for needed in (self._text_field, self._id_field):
                    if needed is not None and needed not in names:
                        raise InputError(
                            f"{self._file.declared}: got columns {', '.join(names)}, expected "
                            f'"{needed}"',
                            "name the columns with from.text and from.id (null makes ids)",
                        )
                num_rows = 0
                for batch in parquet.iter_batches(batch_size=_PARQUET_ROWS):
                    num_rows += batch.num_rows
                    row_bytes = batch.nbytes // max(batch.num_rows, 1)
                    for row in _batch_rows(batch):
                        yield row, row_bytes
                # A damaged footer can leave row groups out without a word.
                if num_rows != parquet.metadata.num_rows:
                    raise OSError(f"got {num_rows} rows of {parquet.metadata.num_rows}")
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            # Arrow's messages may run over several lines.
            reason = " ".join(str(error).split())
            raise InputError(
                f"{self._file.declared}: broken parquet after document {self.num_rows}: {reason}",
                _PULL_AGAIN,
            ) from error

    def _document(self, row: int, record: bytes | dict[str, Any]) -> Document:
        where = f"{self._file.declared}: document {row + 1}"
        if self._file.kind.startswith(".txt"):
            fields: dict[str, Any] = {self._text_field: record}
            if self._id_field is not None:
                fields[self._id_field] = self._file.partition
        elif isinstance(record, bytes):
            fields = _parse(record, where)
        else:
            fields = record
        if self._id_field is None:
            id_ = f"{self._file.partition}/{row}"
        else:
            id_ = _id(fields.pop(self._id_field, None), self._id_field, where)
        value = fields.pop(self._text_field, None)
        if self._decoder is not None and isinstance(value, np.ndarray):
            text = self._decoder.decode(value, where, SKIP_HINT)
        else:
            text = _text(value, self._text_field, where)
        if not text:
            named = json.dumps(id_, ensure_ascii=False)  # on one line, whatever is in it
            raise DocumentError(f"{where}: id {named} has an empty text", SKIP_HINT, "empty_text")
        return Document(id=id_, text=text, row=row, metadata=fields)


def _parse(line: bytes, where: str) -> dict[str, Any]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        try:
            line.decode()
        except UnicodeDecodeError as invalid:
            raise _invalid_utf8(invalid, where) from error
        raise DocumentError(
            f"{where}: got a line that is no JSON ({error}), expected one object a line",
            SKIP_HINT,
            "invalid_json",
        ) from error
    if not isinstance(record, dict):
        raise DocumentError(
            f"{where}: got a JSON {type(record).__name__}, expected an object",
            SKIP_HINT,
            "invalid_json",
        )
    return record


def _text(value: object, field: str, where: str) -> str:
    text = _decoded(value, where)
    if not isinstance(text, str):
        raise DocumentError(
            f'{where}: field "{field}" is {_describe(text)}, expected text',
            f"name the field that holds the text with from.text; {SKIP_HINT}",
            "no_text",
        )
    return text


def _id(value: object, field: str, where: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    id_ = _decoded(value, where)
    if not isinstance(id_, str):
        raise DocumentError(
            f'{where}: field "{field}" is {_describe(id_)}, expected an id',
            f"name the field with from.id, or write `id: null` to make ids; {SKIP_HINT}",
            "no_id",
        )
    return id_


def _decoded(value: object, where: str) -> object:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise _invalid_utf8(error, where) from error


def _describe(value: object) -> str:
    if value is None:
        return "missing"
    name = type(value).__name__
    return f"an {name}" if name == "int" else f"a {name}"


def _invalid_utf8(error: UnicodeDecodeError, where: str) -> DocumentError:
    return DocumentError(
        f"{where}: invalid UTF-8 at byte {error.start}: {error.reason}", SKIP_HINT, "invalid_utf8"
    )


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


def _batch_rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    columns = [_values(column) for column in batch.columns]
    for values in zip(*columns, strict=True):
        yield dict(zip(batch.schema.names, values, strict=True))


def _values(column: pa.Array) -> list[Any]:
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError):
        # Text that is not UTF-8, or a time that Python cannot tell; each document is judged alone.
        return [_value(scalar) for scalar in column]


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:
        return error.object
    except (ValueError, OverflowError):
        # Such metadata stays as Arrow has it.
        return scalar


class _Decompressor(Protocol):
    """What `zlib` and `zstandard` have in common: an object for one gzip member or zstd frame."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def _unpack(blocks: Iterator[bytes], kind: str) -> Iterator[bytes]:
    if kind.endswith(".gz"):
        return _decompress(blocks, lambda: zlib.decompressobj(wbits=16 + zlib.MAX_WBITS))
    if kind.endswith((".zst", ".zstd")):
        unpacker = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        return _decompress(blocks, unpacker.decompressobj)
    return blocks


def _decompress(
    blocks: Iterator[bytes], new_decompressor: Callable[[], _Decompressor]
) -> Iterator[bytes]:
    """Yield what all members or frames hold; they fill the file to its end, and there is one.

    Raises: EOFError when the last breaks off. The readers of both packages are laxer: that of
    zstandard takes a truncated frame for a whole one.
    """
    decompressor = new_decompressor()
    is_whole = False
    for block in blocks:
        while block:
            if is_whole:
                decompressor = new_decompressor()
            yield decompressor.decompress(block)
            is_whole = decompressor.eof
            block = decompressor.unused_data
    if not is_whole:
        raise EOFError("the file breaks off")
