"""Tasks in this process: each runs when its result is asked for."""

import subprocess
import sys

import pytest

from pipeline.core.progress import TASKS
from pipeline.runner.cluster import Cluster, InProcess


def test_tasks_run_as_results_are_taken() -> None:
    ran, reported = [], []

    def run(number: int) -> int:
        ran.append(number)
        return -number

    cluster = InProcess(lambda *one: reported.append(one))
    results = cluster.each("stage", run, range(3))
    assert next(results) == 0
    assert ran == [0]
    assert list(results) == [-1, -2]
    assert reported == [("stage", done, 3, TASKS) for done in range(4)]
    assert cluster.map("nothing", run, []) == []
    assert len(reported) == 4


def test_the_first_error_ends_a_stage() -> None:
    tasks = iter([1, 0, 1])

    class Made:
        def __len__(self) -> int:
            return 3

        def __iter__(self):  # type: ignore[no-untyped-def]
            return tasks

    with pytest.raises(ZeroDivisionError):
        InProcess(lambda *_: None).map("divide", lambda number: 1 / number, Made())
    assert next(tasks) == 1


def test_dask_is_imported_where_a_cluster_is_opened() -> None:
    code = "import sys, pipeline.runner; sys.exit('distributed' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_largest_tasks_run_first_and_results_stay_in_order() -> None:
    ran = []

    class Noting(InProcess):
        map_by_size = Cluster.map_by_size

    def run(number: int) -> int:
        ran.append(number)
        return -number

    cluster = Noting(lambda *_: None)
    assert cluster.map_by_size("stage", run, [2, 9, 5, 9], lambda number: number) == [
        -2,
        -9,
        -5,
        -9,
    ]
    assert ran == [9, 9, 5, 2]
    assert cluster.map_by_size("stage", run, [], lambda number: number) == []
    # One process gains nothing by it, and the first bad file is the first that is named.
    ran.clear()
    assert InProcess(lambda *_: None).map_by_size("stage", run, [2, 9], int) == [-2, -9]
    assert ran == [2, 9]
