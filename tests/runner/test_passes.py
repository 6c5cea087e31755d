"""Passes: what is lost or damaged between them is said in one line and made again."""

import io
import os
import resource
import shutil
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from support.mds import write
from support.pass_counts import count_passes
from support.shuffles import CLS, ONE_PASS, SEP, TWO_PASSES, Here, product, shuffled, stopped
from support.strategies import Row

from pipeline.config import OrderSpec
from pipeline.core.cells import CellReader
from pipeline.core.errors import OutputError
from pipeline.runner.open_cluster import open_files_of
from pipeline.runner.shuffle import Limits, PoolFolder, jobs, passes, shuffle_pool
from pipeline.runner.shuffle.passes import plan_passes, split_pool

BOTH = pytest.mark.parametrize("limits", [ONE_PASS, TWO_PASSES], ids=["one pass", "two passes"])


def runs_of(out: Path) -> list[Path]:
    """Return the files of the last pass."""
    kinds = [sorted((out / ".ettin" / kind).rglob("*")) for kind in ("sorted", "scattered")]
    return [path for path in kinds[0] or kinds[1] if path.is_file()]


@BOTH
def test_a_run_that_is_damaged_is_said_and_another_run_makes_it_again(
    tmp_path: Path, limits: Limits
) -> None:
    asked, plain = stopped(tmp_path, limits, "order")
    for number, path in enumerate(runs_of(tmp_path / "out")):
        data = bytearray(path.read_bytes())
        if number == 0:
            path.write_bytes(data[:-1])
        elif number == 1:
            path.unlink()
        else:
            data[-1 - number % 8] ^= 1
            path.write_bytes(data)
    # What is short or missing is found before it is needed.
    with pytest.raises(OutputError) as said:
        shuffle_pool(**asked, cluster=Here())
    assert "got bytes of another digest" in said.value.message
    assert "\n" not in said.value.message
    # All that are damaged are gone with the first that is found.
    assert shuffle_pool(**asked, cluster=Here()) == plain
    assert product(tmp_path / "out") == product(tmp_path / "plain")


def test_damage_in_files_of_two_passes_costs_one_run(tmp_path: Path) -> None:
    asked, plain = stopped(tmp_path, TWO_PASSES, 120)
    state = tmp_path / "out" / ".ettin"
    found = [[*filter(Path.is_file, (state / kind).rglob("*"))] for kind in ("scattered", "sorted")]
    assert all(found)
    for path in chain.from_iterable(found):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    with pytest.raises(OutputError, match="got bytes of another digest"):
        shuffle_pool(**asked, cluster=Here())
    assert shuffle_pool(**asked, cluster=Here()) == plain


def test_the_scatter_is_removed_once_it_is_sorted_and_the_sort_once_all_is_written(
    tmp_path: Path,
) -> None:
    seen = {}

    def look(stage: str) -> None:
        seen[stage] = sorted(
            path.name
            for path in (tmp_path / "out" / ".ettin").iterdir()
            if path.name in ("scattered", "sorted")
        )

    asked, plain = stopped(tmp_path, TWO_PASSES, "scatter")
    assert shuffle_pool(**asked, cluster=Here(before=look)) == plain
    assert (seen["sort"], seen["order"]) == (["scattered"], ["sorted"])
    assert seen["sort documents"] == []


def test_a_lost_bucket_is_made_again_from_the_pool_and_the_others_stay(tmp_path: Path) -> None:
    asked, plain = stopped(tmp_path, TWO_PASSES, "order")
    runs = runs_of(tmp_path / "out")
    lost = runs[0].parent
    kept = {path: path.stat().st_mtime_ns for path in runs if path.parent != lost}
    for path in lost.iterdir():
        path.unlink()
    stages = Counter[str]()

    def look(stage: str) -> None:
        stages[stage] += 1
        if stage == "order":
            assert {path: path.stat().st_mtime_ns for path in kept} == kept

    assert kept
    assert shuffle_pool(**asked, cluster=Here(before=look)) == plain
    assert stages["scatter"] == stages["sort"] == 1


def test_few_damaged_files_of_a_written_order_are_read_from_the_pool(tmp_path: Path) -> None:
    asked, plain = stopped(tmp_path, TWO_PASSES, "sort documents")
    (tmp_path / "out" / "order" / "p_000001").rename(tmp_path / "gone")
    stages = Counter[str]()
    again = shuffle_pool(**asked, cluster=Here(before=lambda stage: stages.update([stage])))
    assert again == plain
    assert stages["order"] == 1
    assert stages["scatter"] == stages["sort"] == 0
    assert product(tmp_path / "out") == product(tmp_path / "plain")


@BOTH
def test_a_disk_without_room_is_said_before_anything_is_laid_out(
    tmp_path: Path, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, _ = stopped(tmp_path, limits, "scatter")
    usage = mock.Mock(return_value=mock.Mock(free=1000))
    monkeypatch.setattr(passes.shutil, "disk_usage", usage)
    with pytest.raises(OutputError, match=r"got 1000B free on its disk, expected .* to lay out"):
        shuffle_pool(**asked, cluster=Here())
    assert not (tmp_path / "out" / ".ettin" / "scattered").exists()


def free_of(monkeypatch: pytest.MonkeyPatch, num_bytes: int) -> None:
    usage = mock.Mock(return_value=mock.Mock(free=num_bytes))
    monkeypatch.setattr(passes.shutil, "disk_usage", usage)


@pytest.mark.parametrize(("limits", "stage"), [(TWO_PASSES, "sort"), (TWO_PASSES, 3)])
def test_a_resumed_run_also_needs_room_for_what_is_not_laid_out_yet(
    tmp_path: Path, limits: Limits, stage: str | int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, _ = stopped(tmp_path, limits, stage)
    free_of(monkeypatch, 0)
    with pytest.raises(OutputError, match=r"got 0B free .* to lay out the pool by position and wr"):
        shuffle_pool(**asked, cluster=Here())


def test_rows_in_order_need_room_beside_a_scatter_that_is_not_sorted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked, plain = stopped(tmp_path, ONE_PASS, "order")
    num_bytes = sum(folder.num_bytes for folder in asked["folders"])
    # 1.5 of 4 bytes an id, and a pool that has no rows beyond the last step.
    free_of(monkeypatch, num_bytes * 3 // 8 - 1)
    assert shuffle_pool(**asked, cluster=Here()) == plain
    assert "for the rows in order" in caplog.text


def test_rows_in_order_take_the_room_of_a_scatter_that_was_sorted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked, plain = stopped(tmp_path, TWO_PASSES, "sort")
    num_bytes = sum(folder.num_bytes for folder in asked["folders"])
    free_of(monkeypatch, num_bytes)
    assert shuffle_pool(**asked, cluster=Here()) == plain
    assert not caplog.records
    free_of(monkeypatch, num_bytes - 1)
    for path in (tmp_path / "out").iterdir():
        shutil.rmtree(path)
    with pytest.raises(OutputError, match="to lay out"):
        shuffle_pool(**asked, cluster=Here())


def test_a_pool_is_gathered_from_more_runs_than_may_be_open(tmp_path: Path) -> None:
    limit = open_files_of(1)
    written = [Row(f"d{number}", [CLS, *range(20, 30), SEP]) for number in range(limit + 30)]
    write(tmp_path / "pool", written, size_limit=300)
    spec = OrderSpec(global_batch_size=4, max_seq_len=80, seed=1)
    plain = shuffle_pool(**shuffled(tmp_path / "pool", tmp_path / "plain", spec), cluster=Here())
    asked = shuffled(tmp_path / "pool", tmp_path / "out", spec, Limits(run_bytes=400))
    job, folders = asked["job"], asked["folders"]
    assert len(split_pool(job, folders)) == limit + 30
    # The first shuffle may have all shards open.
    jobs._open_pool.cache_clear()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        assert shuffle_pool(**asked, cluster=Here()) == plain
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@BOTH
def test_files_are_opened_and_read_as_often_as_counted(tmp_path: Path, limits: Limits) -> None:
    asked, _ = stopped(tmp_path, limits, "scatter")
    counted = Counter[str]()
    open_, preadv, pread, read_cells = io.open, os.preadv, os.pread, CellReader.read

    def opened(path: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        file = open_(path, mode, *rest, **more)
        if mode == "rb" and {"scattered", "sorted"} & set(Path(str(path)).parts):
            counted["opened"] += 1
        return file

    def read(*arguments: Any) -> int:
        counted["read"] += 1
        return preadv(*arguments)

    def read_run(reader: CellReader, first: int, stop: int, room: Any) -> Any:
        counted["asked"] += 1
        # Of what is empty, as most cells of so small a pool are, nothing is read.
        counted["empty"] += reader.num_bytes(first, stop) == 0
        return read_cells(reader, first, stop, room)

    def read_head(*arguments: Any) -> bytes:
        counted["head"] += 1
        return pread(*arguments)

    with (
        mock.patch.object(io, "open", opened),
        mock.patch.object(os, "preadv", read),
        mock.patch.object(os, "pread", read_head),
        mock.patch.object(CellReader, "read", read_run),
        # It has cells of its own.
        mock.patch("pipeline.runner.shuffle.shuffle.index_documents", return_value={}),
    ):
        described, _ = shuffle_pool(**asked, cluster=Here())
    job, folders = asked["job"], asked["folders"]
    layout = plan_passes(job, folders, split_pool(job, folders))
    batch = job.spec.global_batch_size
    files = [
        (start * batch, min(start + 100, one.first_step + one.num_steps) * batch)
        for one in described.windows
        for start in range(one.first_step, one.first_step + one.num_steps, 100)
    ]
    counts = count_passes(layout, files)
    assert layout.is_sorted == (limits is TWO_PASSES)
    assert counted["opened"] == counted["head"] == sum(one.num_opened for one in counts)
    assert counted["asked"] == sum(one.num_reads for one in counts)
    assert 0 < counted["read"] == counted["asked"] - counted["empty"]


def test_a_pool_is_split_by_bytes_and_a_folder_that_is_too_large_by_rows(tmp_path: Path) -> None:
    job = stopped(tmp_path, Limits(run_bytes=100, row_bytes=0), "scatter")[0]["job"]
    sizes = [(10, 40), (10, 60), (10, 1), (30, 250), (0, 0)]
    folders = [
        PoolFolder(table=str(n), source="s", files=("f", "g"), num_rows=rows, num_bytes=size)
        for n, (rows, size) in enumerate(sizes)
    ]
    groups = [[(one.table, one.rows) for one in group] for group in split_pool(job, folders)]
    assert groups == [
        [("0", (0, 10)), ("1", (10, 20))],
        [("2", (20, 30)), ("3", (30, 40))],
        [("3", (40, 50))],
        [("3", (50, 60)), ("4", (60, 60))],
    ]
    assert split_pool(job, folders)[1][1].first_file == 6
    # An empty folder may also come first.
    groups = [[(one.table, one.rows) for one in group] for group in split_pool(job, folders[::-1])]
    assert groups[0] == [("4", (0, 0)), ("3", (0, 10))]
