"""The task cache: records are used while their key, their files and they themselves are intact."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from support.mds import write
from support.strategies import Row

from pipeline.core.digest import FileDigest
from pipeline.dataset import State
from pipeline.dataset.mds import Pool
from pipeline.runner.task_cache import (
    TaskRecord,
    describe,
    files_of,
    has_record,
    load_cached,
    publish_index,
    publish_output,
    save_record,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted(TaskRecord):
    count: int


@pytest.fixture
def state(tmp_path: Path) -> State:
    """A state with one record, of a task that wrote one file."""
    state = State(out=tmp_path)
    (tmp_path / "file").write_text("content")
    files = {"file": FileDigest.of(tmp_path / "file")}
    save_record(state, "task", Counted(key="k", count=12, files=files))
    return state


def test_a_record_is_used_while_its_files_are_intact(state: State) -> None:
    record = load_cached(state, "task", "k", Counted)
    assert record is not None
    assert record.count == 12
    assert load_cached(state, "task", "another key", Counted) is None
    assert load_cached(state, "another task", "k", Counted) is None
    (state.out / "file").write_text("Content")
    assert load_cached(state, "task", "k", Counted) is None
    (state.out / "file").unlink()
    assert load_cached(state, "task", "k", Counted) is None


def test_no_damage_to_a_record_goes_unseen(state: State) -> None:
    path = state.record("task")
    data = path.read_bytes()
    assert json.loads(data)["record"]["count"] == 12
    for place in range(len(data)):
        for bit in range(8):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
            record = load_cached(state, "task", "k", Counted)
            # White space and the case of an escape may change; what is said may not.
            assert record is None or record.count == 12, (place, bit)
        path.write_bytes(data[:place])
        assert load_cached(state, "task", "k", Counted) is None


def test_a_record_is_known_whatever_became_of_its_files(state: State) -> None:
    (state.out / "file").unlink()
    assert has_record(state, "task", "k")
    assert not has_record(state, "task", "another key")


def test_a_folder_is_described_by_its_files(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name in "ab":
        (tmp_path / "folder" / name).write_text(name)
    described = describe(tmp_path / "folder", "x/y")
    assert described == {f"x/y/{name}": FileDigest.of(tmp_path / "folder" / name) for name in "ab"}
    assert describe(tmp_path / "folder" / "a", "z") == {"z": described["x/y/a"]}
    last = {"z": described["x/y/a"]}
    records = [TaskRecord(key="", files=files) for files in (described, last)]
    assert files_of(records) == {**described, **last}


def test_an_output_that_is_right_is_not_written_again(tmp_path: Path) -> None:
    state = State(out=tmp_path)
    first = publish_output(state, "a/b", b"data")
    inode = (tmp_path / "a" / "b").stat().st_ino
    assert publish_output(state, "a/b", b"data") == first == describe(tmp_path / "a" / "b", "a/b")
    assert (tmp_path / "a" / "b").stat().st_ino == inode
    publish_output(state, "a/b", b"other")
    assert (tmp_path / "a" / "b").read_bytes() == b"other"


def test_a_merged_index_makes_one_pool_of_its_folders_in_the_order_given(tmp_path: Path) -> None:
    for name in "ab":
        rows = [Row(f"{name}{i}", [i + 1]) for i in range(9)]
        write(tmp_path / "train" / name, rows, size_limit=260)
    files = publish_index(State(out=tmp_path), "train", ["b", "a"])
    assert list(files) == ["train/index.json"]
    pool = Pool.open(tmp_path / "train")
    assert pool.document_ids(np.arange(18)) == [f"{name}{i}" for name in "ba" for i in range(9)]
