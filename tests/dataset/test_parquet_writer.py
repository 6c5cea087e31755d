"""Ordered rows and the table of steps: what is written is read back, and bytes repeat."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.dataset.parquet.writer import RowWriter, read_steps, write_steps

rows = st.lists(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=9), min_size=1, max_size=9)


def write(path: Path, groups: list[list[list[int]]]) -> list[dict[str, object]]:
    """Write groups of rows, each row labelled with its position from 1; return them all."""
    expected: list[dict[str, object]] = []
    with RowWriter(path) as writer:
        for group in groups:
            first = len(expected) + 1
            expected += [{"input_ids": ids, "step": first + i} for i, ids in enumerate(group)]
            writer.write(
                np.array([id_ for ids in group for id_ in ids], np.uint32),
                np.cumsum([0, *map(len, group)]),
                np.arange(first, first + len(group)),
            )
    return expected


@QUICK
@given(groups=st.lists(rows, min_size=1, max_size=3))
def test_rows_written_are_the_rows_read(tmp_path: Path, groups: list[list[list[int]]]) -> None:
    expected = write(tmp_path / "rows.parquet", groups)
    table = pq.read_table(tmp_path / "rows.parquet")
    assert table.schema.names == ["input_ids", "step"]
    assert table.schema.field("input_ids").type.value_type == pa.uint32()
    assert table.schema.field("step").type == pa.int64()
    assert table.to_pylist() == expected
    metadata = pq.read_metadata(tmp_path / "rows.parquet")
    assert [metadata.row_group(i).num_rows for i in range(len(groups))] == list(map(len, groups))


def test_columns_are_stored_as_the_decision_says(tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet", [[[1, 2, 3], [4]]])
    group = pq.read_metadata(tmp_path / "rows.parquet").row_group(0)
    ids, step = group.column(0), group.column(1)
    assert (ids.compression, step.compression) == ("ZSTD", "ZSTD")
    assert "BYTE_STREAM_SPLIT" in ids.encodings
    assert not {"PLAIN_DICTIONARY", "RLE_DICTIONARY"} & {*ids.encodings, *step.encodings}
    assert ids.statistics is None
    assert (step.statistics.min, step.statistics.max) == (1, 2)


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    groups = [[[5, 6], [7]], [[8] * 2_000]]
    write(tmp_path / "1", groups)
    write(tmp_path / "2", groups)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_offsets_need_not_start_a_new_array(tmp_path: Path) -> None:
    ids = np.arange(10, dtype=np.uint32)
    with RowWriter(tmp_path / "rows") as writer:
        writer.write(ids, np.array([0, 4, 10]), np.array([1, 1]))
    expected = [list(range(4)), list(range(4, 10))]
    assert pq.read_table(tmp_path / "rows")["input_ids"].to_pylist() == expected


def test_steps_are_numbered_over_the_phase_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "steps.parquet"
    write_steps(
        path, num_rows=np.array([3, 3]), num_tokens=np.array([100, 2**40]), sha256=["a" * 64, "b"]
    )
    assert read_steps(path).to_pylist() == [
        {"step": 1, "start_row": 0, "num_rows": 3, "num_tokens": 100, "sha256": "a" * 64},
        {"step": 2, "start_row": 3, "num_rows": 3, "num_tokens": 2**40, "sha256": "b"},
    ]


def test_no_steps_are_an_empty_table_of_the_same_columns(tmp_path: Path) -> None:
    path = tmp_path / "steps.parquet"
    nothing = np.empty(0, np.int64)
    write_steps(path, num_rows=nothing, num_tokens=nothing, sha256=[])
    assert read_steps(path).to_pylist() == []
    assert pq.read_schema(path).names == ["step", "start_row", "num_rows", "num_tokens", "sha256"]
