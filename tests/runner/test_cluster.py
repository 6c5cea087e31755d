"""Tasks in this process: each runs when its result is asked for."""

import subprocess
import sys

import pytest

from pipeline.runner.cluster import InProcess


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
    assert reported == [("stage", done, 3) for done in range(4)]
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
