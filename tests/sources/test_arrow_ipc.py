"""Arrow IPC files and streams: rows are documents, and one that is cut is never a shorter one."""

import struct
from pathlib import Path

import pyarrow as pa
import pytest
from support.reading import input_file, pairs, read_all

from pipeline.core.errors import InputError

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


def _nested(name: str, column: pa.Array) -> pa.Array:
    """Return a column inside another, beside text that is no UTF-8."""
    no_utf8 = _strings(b"\xff\xff", [0, 1, 2])
    return {
        "alone": column,
        "struct": pa.StructArray.from_arrays([no_utf8, column], ["a", "b"]),
        "list": pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), column),
        "map": pa.MapArray.from_arrays(pa.array([0, 1, 2], pa.int32()), no_utf8, column),
        "dictionary": pa.DictionaryArray.from_arrays(pa.array([1, 0]), column),
    }[name]


@pytest.mark.parametrize("name", ["alone", "struct", "list", "map", "dictionary"])
def test_offsets_that_lead_out_of_a_column_are_an_error(tmp_path: Path, name: str) -> None:
    def written(column: pa.Array) -> bytes:
        plain = pa.array(["a", "b"])
        batch = pa.RecordBatch.from_arrays(
            [plain, plain, _nested(name, column)], ["id", "text", "more"]
        )
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return bytes(sink.getvalue())

    # Bytes that are no text, in a field that is not read as one, are no damage.
    data = written(_strings(b"\xfe" * 23_456, [0, 12_345, 23_456]))
    documents, _ = read_all(input_file(tmp_path, "a.arrow", data))
    for offset in (1 << 30, -(1 << 30)):
        bad = data.replace(struct.pack("<i", 12_345), struct.pack("<i", offset))
        assert bad != data
        with pytest.raises(InputError, match=r"broken Arrow after document 0: .*ffset"):
            read_all(input_file(tmp_path, "bad.arrow", bad))
    assert pairs(documents) == [("a", "a"), ("b", "b")]
