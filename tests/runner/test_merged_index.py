"""A merged index has the shards of its folders in the order given, and takes little memory."""

import json
import tracemalloc
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from support.mds import write
from support.strategies import Row

from pipeline.core.digest import FileDigest
from pipeline.dataset import State
from pipeline.dataset.mds import Pool, index_bytes, merge_indexes
from pipeline.runner import merged_index
from pipeline.runner.merged_index import publish_indexes

PARTS = ["b/2", "a/1", "b/0", "b/1"]
"""Of which the third has no shards."""


def index_of(number: int, num_shards: int) -> dict[str, Any]:
    """An index of so many shards, with what a merged one must keep."""
    shards = [
        {
            "version": 2,
            "zip_data": {"basename": f"é{shard}.zstd", "bytes": 1} if number % 2 else None,
            "raw_data": {"basename": f"é{shard}.mds", "bytes": 7},
            "samples": number,
        }
        for shard in range(num_shards)
    ]
    return {"version": 2, "shards": shards}


def save(folder: Path, index: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    (folder / "index.json").write_bytes(index_bytes(index, merged=False))


@pytest.fixture
def state(tmp_path: Path) -> State:
    """Four folders with indexes."""
    for number, part in enumerate(PARTS):
        save(tmp_path / "train" / part, index_of(number, 0 if part == "b/0" else number + 1))
    return State(out=tmp_path)


@pytest.mark.parametrize("num_bytes", [1, 1 << 20])
def test_an_index_is_that_of_all_shards_at_once(state: State, num_bytes: int) -> None:
    with mock.patch.object(merged_index, "_BYTES_AT_ONCE", num_bytes):
        files = publish_indexes(state, "train", PARTS, ["a", "b", "c"])
    indexes = {
        part: json.loads((state.out / "train" / part / "index.json").read_bytes()) for part in PARTS
    }
    for folder in ("", "a/", "b/", "c/"):
        below = [
            (part.removeprefix(folder), index)
            for part, index in indexes.items()
            if part.startswith(folder)
        ]
        name = f"train/{folder}index.json"
        written = (state.out / name).read_bytes()
        assert written == index_bytes(merge_indexes(below), merged=True)
        assert files.pop(name) == FileDigest.of_bytes(written)
    assert not files
    assert not list(state.scratch.iterdir())


def test_an_index_that_is_right_is_not_written_again(state: State) -> None:
    first = publish_indexes(state, "train", PARTS, ["b"])
    files = [state.out / name for name in first]
    inodes = [path.stat().st_ino for path in files]
    assert publish_indexes(state, "train", PARTS, ["b"]) == first
    assert [path.stat().st_ino for path in files] == inodes
    assert not list(state.scratch.iterdir())
    files[0].write_text("other")
    assert publish_indexes(state, "train", PARTS, ["b"]) == first
    assert FileDigest.of(files[0]) in first.values()


def test_an_index_takes_little_memory(tmp_path: Path) -> None:
    parts = [f"a/{number}" for number in range(40)]
    for part in parts:
        save(tmp_path / "train" / part, index_of(1, 500))
    state = State(out=tmp_path)
    tracemalloc.start()
    try:
        files = publish_indexes(state, "train", parts, ["a"])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    num_bytes = sum(file.num_bytes for file in files.values())
    # Two buffers of a megabyte, and one index of a part.
    assert peak < 4 << 20 < num_bytes


def test_a_merged_index_makes_one_pool_of_its_folders_in_the_order_given(tmp_path: Path) -> None:
    for name in "ab":
        rows = [Row(f"{name}{i}", [i + 1]) for i in range(9)]
        write(tmp_path / "train" / name, rows, size_limit=260)
    files = publish_indexes(State(out=tmp_path), "train", ["b", "a"])
    assert list(files) == ["train/index.json"]
    pool = Pool.open(tmp_path / "train")
    assert pool.document_ids(np.arange(18)) == [f"{name}{i}" for name in "ba" for i in range(9)]
