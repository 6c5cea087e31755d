"""Arrow IPC files and streams: rows are documents, and one that is cut is never a shorter one."""

import struct
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pyarrow as pa
import pytest
from support.reading import input_file, pairs, read_all

from pipeline.core.errors import InputError
from pipeline.sources.partitions import InputFile

_BATCHES = [
    pa.RecordBatch.from_pylist([{"id": f"{n}-{row}", "text": f"t{row}"} for row in range(200)])
    for n in range(3)
]


def _written(is_stream: bool) -> bytes:
    sink = pa.BufferOutputStream()
    new = pa.ipc.new_stream if is_stream else pa.ipc.new_file
    with new(sink, _BATCHES[0].schema) as writer:
        for batch in _BATCHES:
            writer.write_batch(batch)
    return bytes(sink.getvalue())


@pytest.mark.parametrize("is_stream", [True, False])
def test_rows_are_documents(tmp_path: Path, is_stream: bool) -> None:
    documents, _ = read_all(input_file(tmp_path, "data-00000.arrow", _written(is_stream)))
    assert pairs(documents) == [(f"{n}-{row}", f"t{row}") for n in range(3) for row in range(200)]


@pytest.mark.parametrize("is_stream", [True, False])
def test_a_cut_file_is_an_error(tmp_path: Path, is_stream: bool) -> None:
    data = _written(is_stream)
    # The second of these cuts a stream between two of its messages.
    for length in (len(data) // 2, len(data) - 8, len(data) - 1):
        with pytest.raises(InputError, match="broken Arrow after document"):
            read_all(input_file(tmp_path, "a.arrow", data[:length]))


def _strings(values: bytes, offsets: list[int]) -> pa.Array:
    """Return text of these bytes, whether they are UTF-8 or not."""
    buffers = [None, pa.array(offsets, pa.int32()).buffers()[1], pa.py_buffer(values)]
    return pa.Array.from_buffers(pa.string(), len(offsets) - 1, buffers)


_OFFSETS = [0, 1, 12_345]
# Text that is no UTF-8, so that a check ends at it before it has seen what is around it.
_TEXT = _strings(b"\xff" * 12_345, [*range(12_346)])


def _list(kind: type[pa.Array]) -> pa.Array:
    return kind.from_arrays(pa.array(_OFFSETS, pa.int32()), _TEXT)


NESTED: dict[str, Callable[[], pa.Array]] = {
    "text": lambda: _strings(b"\xfe" * 12_345, [0, 1, 12_345]),
    "list": lambda: _list(pa.ListArray),
    "map": lambda: pa.MapArray.from_arrays(pa.array(_OFFSETS, pa.int32()), _TEXT, _TEXT),
    "list view": lambda: pa.ListViewArray.from_arrays(
        pa.array([0, 1], pa.int32()), pa.array([1, 12_345 - 1], pa.int32()), _TEXT
    ),
    "struct": lambda: pa.StructArray.from_arrays([_TEXT[:2], _list(pa.ListArray)], ["a", "b"]),
    "fixed-size list": lambda: pa.FixedSizeListArray.from_arrays(_list(pa.ListArray), 1),
    "dictionary": lambda: pa.DictionaryArray.from_arrays(pa.array([0, 12_344], pa.int32()), _TEXT),
    "union": lambda: pa.UnionArray.from_dense(
        pa.array([0, 0], pa.int8()), pa.array([0, 12_344], pa.int32()), [_TEXT]
    ),
}
"""Columns of two rows by kind, whose offsets or indices have 12,344 or 12,345."""


@pytest.mark.parametrize("name", NESTED)
def test_offsets_that_lead_out_of_a_column_are_an_error(tmp_path: Path, name: str) -> None:
    plain = pa.array(["a", "b"])
    batch = pa.RecordBatch.from_arrays([plain, plain, NESTED[name]()], ["id", "text", "more"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    data = bytes(sink.getvalue())
    # Bytes that are no text, in a field that is not read as one, are no damage.
    documents, _ = read_all(input_file(tmp_path, "a.arrow", data))
    assert pairs(documents) == [("a", "a"), ("b", "b")]
    # The first of each number is that of the column, those behind it are of its text.
    refusals = [
        _refusal(input_file(tmp_path, "bad.arrow", bad))
        for number, wrong in product((12_344, 12_345), (1 << 30, -(1 << 30), -1))
        if (bad := data.replace(struct.pack("<i", number), struct.pack("<i", wrong), 1)) != data
    ]
    said = [one for one in refusals if one is not None]
    assert len(said) >= 3
    assert all("broken Arrow after document 0: " in one for one in said)


def _refusal(file: InputFile) -> str | None:
    try:
        read_all(file)
    except InputError as error:
        return error.message
    return None
