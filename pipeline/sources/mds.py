"""MDS as an input: the bytes of one shard file -> its rows, one after the other.

Enters: a shard's bytes in blocks, unpacked. Leaves: each row as a mapping from column to value, in
file order; a shard whose parts do not fit together is an error, whatever could be read of it. The
file's own header says its columns, so no index is needed. A column of ids becomes text by `Decoder`
with the tokenizer that made them.

`pipeline/shards` maps shards of ids, raw and with an index, for compiled loops; rows of texts, and
shards that are compressed, are read here, as a stream in bounded memory.

Source: mosaicml/streaming 0.8.1, `streaming/base/format/mds/{reader,encodings}.py`; of decoding,
JHU-CLSP/ettin-encoder-vs-decoder, `pretraining/data_processing/src/tokenization/decode_mds.py`.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray
from tokenizers import Tokenizer

from pipeline.core.errors import DocumentError, InputError

_ARRAY: Final = "ndarray"
_TEXTS: Final = ("str", "str_int", "str_float", "str_decimal")
_NUMBERS: Final = {
    "int": "<i8",
    "int8": "<i1", "int16": "<i2", "int32": "<i4", "int64": "<i8",
    "uint8": "<u1", "uint16": "<u2", "uint32": "<u4", "uint64": "<u8",
    "float16": "<f2", "float32": "<f4", "float64": "<f8",
}  # fmt: skip
# The first byte of an array whose type is not the column's.
_DTYPES: Final = {
    8: "uint8", 9: "int8", 16: "uint16", 17: "int16", 18: "float16", 32: "uint32", 33: "int32",
    34: "float32", 64: "uint64", 65: "int64", 66: "float64",
}  # fmt: skip
# What transformers changes in decoded text, in this order, where a tokenizer's configuration says
# `clean_up_tokenization_spaces`.
_CLEAN_UP: Final = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"),
    (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoding:
    """How ids become text."""

    tokenizer: Path
    """The `tokenizer.json` that made the ids."""
    cleans_up: bool
    """Whether spaces before punctuation go, as with transformers and the tokenizers of Llama 3."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Column:
    name: str
    encoding: str
    num_bytes: int | None
    """None where each row has its own size."""


class _Broken(Exception):
    """The bytes are no shard; the message says why."""


class _Bytes:
    """Bytes that come in blocks, taken in pieces of any size."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._left = bytearray()

    def take(self, num_bytes: int) -> bytes:
        while len(self._left) < num_bytes:
            block = next(self._blocks, None)
            if block is None:
                raise _Broken("the file breaks off")
            self._left += block
        taken = bytes(memoryview(self._left)[:num_bytes])
        del self._left[:num_bytes]
        return taken

    def finish(self) -> None:
        if self._left or any(self._blocks):
            raise _Broken("bytes follow the last row")


def read_rows(
    blocks: Iterator[bytes], where: str, *, text: str, id_: str | None, decodes: bool
) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield each row, by column, and its size in bytes; reads `blocks` to their end.

    Of the columns `text` and `id_`, text comes as UTF-8 and ids come as an array, since a document
    that is bad is no broken shard. `decodes`: whether `text` is to be ids.

    Raises: InputError when the shard is damaged, or has not the columns.
    """
    stream = _Bytes(blocks)
    num_read = 0
    try:
        offsets, columns = _read_header(stream)
        _check_columns(columns, where, text=text, id_=id_, decodes=decodes)
        for num_bytes in np.diff(offsets).tolist():
            if num_bytes < 0:
                raise _Broken("it ends before it starts")
            yield _row(columns, stream.take(num_bytes), (text, id_)), num_bytes
            num_read += 1
        stream.finish()
    except _Broken as error:
        raise InputError(
            f"{where}: broken MDS shard after document {num_read}: {error}", "pull the file again"
        ) from error


def _read_header(stream: _Bytes) -> tuple[NDArray[np.int64], list[_Column]]:
    """Return where the rows start and the last ends, int64 [num_rows + 1], and the columns."""
    (num_rows,) = struct.unpack("<I", stream.take(4))
    offsets = np.frombuffer(stream.take(4 * (num_rows + 1)), "<u4").astype(np.int64)
    num_bytes = int(offsets[0]) - 4 * (num_rows + 2)
    if num_bytes < 0:
        raise _Broken("the first row starts in the header")
    try:
        header = orjson.loads(stream.take(num_bytes))
        return offsets, [
            _Column(name=str(name), encoding=str(encoding), num_bytes=_size(size))
            for name, encoding, size in zip(
                header["column_names"],
                header["column_encodings"],
                header["column_sizes"],
                strict=True,
            )
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise _Broken("its header does not say its columns") from error


def _size(size: object) -> int | None:
    if size is None or (type(size) is int and size > 0):
        return size
    raise ValueError


def _check_columns(
    columns: list[_Column], where: str, *, text: str, id_: str | None, decodes: bool
) -> None:
    encodings = {column.name: column.encoding for column in columns}
    for needed in (text, id_):
        if needed is not None and needed not in encodings:
            raise InputError(
                f'{where}: got columns {", ".join(encodings)}, expected "{needed}"',
                "name the columns with from.text and from.id (null makes ids)",
            )
    is_array = encodings[text].partition(":")[0] == _ARRAY
    if is_array and not decodes:
        raise InputError(
            f'{where}: got ids in column "{text}" ({encodings[text]}), expected text',
            "name the tokenizer that made the ids with from.decode",
        )
    if decodes and not is_array:
        raise InputError(
            f'{where}: got column "{text}" as {encodings[text]}, expected ids to decode',
            "name the column of ids with from.text, or leave from.decode out",
        )


def _row(columns: list[_Column], data: bytes, as_stored: tuple[str | None, ...]) -> dict[str, Any]:
    """Take a row apart: the sizes of its columns of variable size, then all columns."""
    num_variable = sum(column.num_bytes is None for column in columns)
    position = 4 * num_variable
    if position > len(data):
        raise _Broken("it has not the columns that the header says")
    sizes = iter(struct.unpack_from(f"<{num_variable}I", data))
    values = {}
    for column in columns:
        num_bytes = next(sizes) if column.num_bytes is None else column.num_bytes
        body = data[position : position + num_bytes]
        position += num_bytes
        values[column.name] = _value(column, body, is_stored=column.name in as_stored)
    if position != len(data):
        raise _Broken("it has not the columns that the header says")
    return values


def _value(column: _Column, body: bytes, *, is_stored: bool) -> Any:
    """Return a column's value; bytes as they are where the encoding is none that we read."""
    kind, _, form = column.encoding.partition(":")
    if kind == _ARRAY:
        array = _array(body, form)
        return array if is_stored else array.tolist()
    if kind in _NUMBERS:
        if len(body) != np.dtype(_NUMBERS[kind]).itemsize:
            raise _Broken(f'column "{column.name}" is no {column.encoding}')
        return np.frombuffer(body, _NUMBERS[kind])[0].item()
    if is_stored or kind not in (*_TEXTS, "json"):
        return body
    try:
        return orjson.loads(body) if kind == "json" else body.decode()
    except ValueError:
        return body


def _array(body: bytes, form: str) -> NDArray[Any]:
    """Read an array: its type and its shape, where the column does not say them, and its values.

    A byte is four times the number of dimensions and, in the last two bits, the width of each.
    """
    dtype, _, dimensions = form.partition(":")
    position = 0
    try:
        if not dtype:
            dtype, position = _DTYPES[body[0]], 1
        if dimensions:
            shape = [int(dimension) for dimension in dimensions.split(",")]
        else:
            count, width = divmod(body[position], 4)
            sizes = np.frombuffer(body, f"<u{1 << width}", count, position + 1)
            shape, position = sizes.tolist(), position + 1 + sizes.nbytes
        values = np.frombuffer(body, np.dtype(dtype).newbyteorder("<"), -1, position)
        return values.reshape(shape)
    except (ValueError, TypeError, LookupError) as error:
        raise _Broken("it holds an array that is none") from error


class IdDecoder:
    """Turns ids back into text, special tokens left out, as was published."""

    def __init__(self, decoding: Decoding) -> None:
        self._tokenizer, self._is_known = _load(decoding.tokenizer)
        self._cleans_up = decoding.cleans_up

    def decode(self, ids: NDArray[Any], where: str, hint: str) -> str:
        """Return the text of a row of ids.

        Raises: DocumentError when they are no ids of this tokenizer.
        """
        if ids.ndim != 1 or ids.dtype.kind not in "iu":
            shape = " x ".join(map(str, ids.shape))
            raise DocumentError(
                f"{where}: got an array of {shape} {ids.dtype}, expected a row of ids",
                hint, "no_text",
            )  # fmt: skip
        unknown = (ids < 0) | (ids >= len(self._is_known))
        if not unknown.any():
            unknown = ~self._is_known[ids]
        if unknown.any():
            raise DocumentError(
                f"{where}: got id {ids[unknown][0]}, expected ids of the tokenizer of from.decode",
                hint, "undecodable",
            )  # fmt: skip
        text: str = self._tokenizer.decode(ids.tolist(), skip_special_tokens=True)
        if self._cleans_up:
            for before, after in _CLEAN_UP:
                text = text.replace(before, after)
        return text


@lru_cache(maxsize=1)
def _load(path: Path) -> tuple[Tokenizer, NDArray[np.bool_]]:
    """Load a tokenizer once in a process: that of Llama 3 takes about a second."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises this very class
        raise InputError(
            f"{path}: got no tokenizer ({error}), expected a tokenizer.json",
            "mend from.decode.tokenizer, or pull the file again",
        ) from error
    ids = list(tokenizer.get_vocab(with_added_tokens=True).values())
    is_known = np.zeros(max(ids, default=-1) + 1, np.bool_)
    is_known[ids] = True
    return tokenizer, is_known
