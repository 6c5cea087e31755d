"""Index rows: whichever passes are taken and wherever they stop, the bytes are the same."""

import pickle
import shutil
from collections.abc import Callable, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.here import Here
from support.indexed import index_job
from support.strategies import QUICK

from pipeline.core.cells import CellFormat, CellReader
from pipeline.core.errors import OutputError
from pipeline.dataset.provenance import ROWS_PER_PART, rank_places
from pipeline.dataset.provenance.writer import ProvenanceBlock, ProvenanceWriter
from pipeline.runner.shuffle import index_rows
from pipeline.runner.shuffle.index_rows import (
    IndexJob,
    IndexPlan,
    RunTask,
    index_documents,
    plan_index,
    split_rows,
)

PLACES = [("books", "b"), ("web", "a"), ("web", "c")]
# As rows of the files of an order; one file is of two runs, and one run of several files.
SIZES = (20, 3, 2, 21, 1, 10)
NUM_ROWS = sum(SIZES)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_rows, "ROWS_PER_PART", 8)


@pytest.fixture(params=[False, True], ids=["two passes", "three passes"])
def is_merged(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(index_rows, "_MOST_READS", 9 if request.param else 1000)
    return request.param


class Breaks:
    """Runs tasks here; breaks off before one of them, and counts those of each stage."""

    def __init__(self, before: int = -1) -> None:
        self.left = before
        self.done: dict[str, int] = {}
        self.tasks: list[Any] = []

    def map(self, stage: str, function: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
        results = []
        for task in tasks:
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            results.append(function(task))
            self.done[stage] = self.done.get(stage, 0) + 1
            self.tasks.append(task)
        return results


def write_provenance(out: Path) -> list[tuple[str, int]]:
    """Write files of made-up rows; return them with their numbers of rows."""
    files = []
    for number, (start, stop) in enumerate(pairwise(np.cumsum([0, *SIZES]).tolist())):
        rows = np.arange(start, stop)
        ids = [f"d{row * 7 % 23}".encode() for row in rows.tolist()]
        path = out / "provenance" / f"{number}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        with ProvenanceWriter(path, start, PLACES) as writer:
            writer.write(
                ProvenanceBlock(
                    steps=rows // 4 + 1,
                    places=(rows * 7 % 23 % 3).astype(np.int32),
                    documents=np.frombuffer(b"".join(ids), np.uint8),
                    offsets=np.cumsum([0, *map(len, ids)]),
                    chunks=rows.astype(np.uint32),
                    num_chunks=rows.astype(np.uint32) + 1,
                    num_tokens=rows.astype(np.uint32) + 2,
                )
            )
        files.append((f"provenance/{path.name}", len(rows)))
    return files


def start(out: Path) -> tuple[IndexJob, list[tuple[str, int]]]:
    return index_job(out, NUM_ROWS, PLACES), write_provenance(out)


def index_bytes(out: Path) -> dict[str, bytes]:
    folder = out / "provenance" / "documents"
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@QUICK
@given(num_parts=st.integers(1, 5000))
def test_a_plan_covers_every_part_once_and_reads_seldom(num_parts: int) -> None:
    plan = plan_index(8 * num_parts)
    assert plan.num_parts == num_parts
    members = [plan.members(number) for number in range(plan.num_cells)]
    assert [*chain.from_iterable(members)] == [*range(num_parts)]
    assert all(members)
    assert plan.num_reads <= 1_000_000
    assert plan.is_merged == (num_parts > 1000)


def test_the_plan_of_an_order_of_full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_rows, "ROWS_PER_PART", ROWS_PER_PART)
    plan = plan_index(2_800_000_000)
    assert plan == IndexPlan(num_parts=2671, width=52)
    assert (plan.num_cells, plan.num_reads) == (52, 277_784)
    assert plan_index(0) == plan_index(1) == IndexPlan(num_parts=1, width=1)


@QUICK
@given(sizes=st.lists(st.integers(1, 30), max_size=20))
def test_runs_have_all_rows_in_order(sizes: list[int]) -> None:
    runs = [*split_rows([(str(number), size) for number, size in enumerate(sizes)])]
    assert len(runs) == plan_index(sum(sizes)).num_parts
    expected = [(str(number), row) for number, size in enumerate(sizes) for row in range(size)]
    cut = [[(path, row) for path, a, b in run for row in range(a, b)] for run in runs]
    assert [*chain.from_iterable(cut)] == expected
    assert all(len(run) == 8 for run in cut[:-1])


def test_reads_are_as_many_as_planned(
    is_merged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    reader = index_rows.CellReader

    def counted(path: Path, form: CellFormat) -> CellReader:
        opened.append(path)
        return reader(path, form)

    monkeypatch.setattr(index_rows, "CellReader", counted)
    job, files = start(tmp_path)
    index_documents(job, Breaks(), files)
    assert job.plan.is_merged == is_merged
    assert len(opened) == job.plan.num_reads == (2 * 8 * 3 if is_merged else 8 * 8)


def test_the_passes_change_no_bytes(tmp_path: Path) -> None:
    made = {}
    for most in (9, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(index_rows, "_MOST_READS", most)
            job, files = start(tmp_path / str(most))
            listed = index_documents(job, Breaks(), files)
        made[most] = index_bytes(job.out)
        assert [path.rpartition("/")[2] for path in listed] == [*made[most]]
        assert all(file.matches(job.out / path) for path, file in listed.items())
    assert made[9] == made[1000]
    assert len(made[9]) == 8
    rows = pq.read_table(tmp_path / "9" / "provenance" / "documents")["row"].to_pylist()
    assert sorted(rows) == [*range(NUM_ROWS)]


def test_a_run_that_is_killed_anywhere_goes_on(is_merged: bool, tmp_path: Path) -> None:
    job, files = start(tmp_path / "whole")
    whole = Breaks()
    listed = index_documents(job, whole, files)
    expected, num_tasks = index_bytes(job.out), sum(whole.done.values())
    assert num_tasks == (8 + 9 + 8 if is_merged else 8 + 8)
    job, files = start(tmp_path / "broken")
    for done in range(0, num_tasks, 2):
        broken = Breaks(before=done)
        forget(job)
        with pytest.raises(KeyboardInterrupt):
            index_documents(job, broken, files)
        again = Breaks()
        assert index_documents(job, again, files) == listed
        again.done.pop("check the index", None)
        assert sum(again.done.values()) == num_tasks - done
        assert index_bytes(job.out) == expected


def forget(job: IndexJob) -> None:
    """Remove all that was made."""
    provenance = job.out / "provenance" / "documents"
    for folder in (job.state.root / "documents", job.state.records, provenance):
        shutil.rmtree(folder, ignore_errors=True)


def test_a_finished_index_is_only_checked_and_what_is_damaged_made_again(
    is_merged: bool, tmp_path: Path
) -> None:
    job, files = start(tmp_path)
    listed = index_documents(job, Breaks(), files)
    expected = index_bytes(tmp_path)
    again = Breaks()
    assert index_documents(job, again, files) == listed
    assert again.done == {"check the index": 8}
    path = tmp_path / [*listed][3]
    path.write_bytes(b"damaged")
    again = Breaks()
    assert index_documents(job, again, files) == listed
    assert again.done == {"check the index": 8, "index documents": 1}
    assert index_bytes(tmp_path) == expected


@pytest.mark.parametrize(("stops", "redone"), [(8, 4), (8 + 5, 4), (8 + 9, 8)])
def test_damaged_cells_are_made_again_by_the_next_run(
    stops: int, redone: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_rows, "_MOST_READS", 9)
    job, files = start(tmp_path / "whole")
    index_documents(job, Breaks(), files)
    expected = index_bytes(job.out)
    job, files = start(tmp_path / "damaged")
    # After the first pass, amid the one between, and after that one, which removes the first.
    with pytest.raises(KeyboardInterrupt):
        index_documents(job, Breaks(before=stops), files)
    found = sorted(path for path in (job.state.root / "documents").rglob("*") if path.is_file())
    assert {path.relative_to(job.state.root).parts[1] for path in found} == (
        {"runs"} if stops == 8 else {"runs", "merged"} if stops < 8 + 9 else {"merged"}
    )
    for path in found[::2]:
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    with pytest.raises(OutputError, match="run the same command again"):
        index_documents(job, Breaks(), files)
    again = Breaks()
    index_documents(job, again, files)
    assert index_bytes(job.out) == expected
    assert again.done["sort documents"] == redone


def test_damaged_provenance_is_named(tmp_path: Path) -> None:
    job, files = start(tmp_path)
    (tmp_path / files[1][0]).write_bytes(b"damaged")
    with pytest.raises(OutputError, match=r"1\.parquet: got damaged work of an unfinished run"):
        index_documents(job, Breaks(), files)


def test_tasks_are_small_however_many_files_there_are(tmp_path: Path) -> None:
    job, files = start(tmp_path)
    cluster = Breaks()
    index_documents(job, cluster, files)
    inputs = [one for task in cluster.tasks if isinstance(task, RunTask) for one in task.inputs]
    # Each file once, and once more for each run that begins within it.
    assert len(inputs) < len(SIZES) + job.plan.num_parts
    others = [len(pickle.dumps(one)) for one in cluster.tasks if not isinstance(one, RunTask)]
    assert max(others) < 1000


def test_places_are_ranked_once_in_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, files = start(tmp_path)
    ranked = mock.Mock(side_effect=rank_places)
    monkeypatch.setattr(index_rows, "rank_places", ranked)
    index_documents(job, Here(), files)
    assert ranked.call_count == 1
