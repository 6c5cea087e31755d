"""Arrow IPC files and streams: rows are documents, and one that is cut is never a shorter one."""

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
