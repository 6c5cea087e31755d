"""The dask cluster: results come in order as they are made; the scheduler holds few tasks."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from pipeline.core.errors import MismatchError
from pipeline.runner import dask_cluster
from pipeline.runner.cluster import Cluster
from pipeline.runner.open_cluster import open_cluster


def _quiet(stage: str, done: int, total: int, *_: object) -> None:
    pass


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with open_cluster(2, None, _quiet) as opened:
        yield opened


def double(number: int) -> int:
    return 2 * number


def wait(file: Path | None) -> bool:
    """Wait for a file, if one is named, and return whether it came."""
    for _ in range(600):
        if file is None or file.exists():
            return True
        time.sleep(0.1)
    return False


class Counted:
    """The tasks 0 to `total`, and how many have been asked for."""

    def __init__(self, total: int) -> None:
        self._total = total
        self.made = 0

    def __len__(self) -> int:
        return self._total

    def __iter__(self) -> Iterator[int]:
        for number in range(self._total):
            self.made += 1
            yield number


class Waiting(Counted):
    """The same, where the first waits for a file."""

    def __init__(self, file: Path, total: int) -> None:
        super().__init__(total)
        self._file = file

    def __iter__(self) -> Iterator[Any]:
        return (self._file if number == 0 else None for number in super().__iter__())


def test_tasks_are_made_as_others_end(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks, held = Counted(300), []
    monkeypatch.setattr(cluster, "_report", lambda _, done, *__: held.append(tasks.made - done))
    results = cluster.each("double", double, tasks)
    assert tasks.made == 0
    assert list(results) == [*range(0, 600, 2)]
    assert tasks.made == 300
    assert 32 < max(held) <= 64


def test_a_slow_task_holds_up_no_task_behind_it(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def report(stage: str, done: int, total: int, *_: object) -> None:
        # Twice what the scheduler holds, on the other worker.
        if done == 128:
            (tmp_path / "done").touch()

    monkeypatch.setattr(cluster, "_report", report)
    tasks = [tmp_path / "done", *[None] * 199]
    assert cluster.map("wait", wait, tasks) == [True] * 200


def test_behind_a_slow_task_results_wait_in_bounds(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_cluster, "_WINDOWS_WAITING", 2)
    tasks = Waiting(tmp_path / "done", 400)

    def report(stage: str, done: int, total: int, *_: object) -> None:
        # All but the first that may be run before it ends.
        if done == 127:
            threading.Timer(1, (tmp_path / "done").touch).start()

    monkeypatch.setattr(cluster, "_report", report)
    results = cluster.each("wait", wait, tasks)
    assert next(results)
    assert 128 <= tasks.made < 200
    assert list(results) == [True] * 399
    assert tasks.made == 400


def test_what_a_caller_leaves_is_not_run(cluster: Cluster) -> None:
    tasks = Counted(1000)
    for result in cluster.each("double", double, tasks):
        if result == 20:
            break
    assert tasks.made < 200
    assert cluster.map("double", double, range(3)) == [0, 2, 4]
    assert cluster.map("double", double, []) == []


def test_the_first_error_ends_a_stage(cluster: Cluster) -> None:
    tasks = Counted(1000)
    with pytest.raises(ZeroDivisionError):
        cluster.map("divide", divide, tasks)
    assert tasks.made < 200


def divide(number: int) -> float:
    return 1 / (number - 5)


@dataclass(frozen=True)
class Keyed:
    """A task, or its record."""

    key: str


def rename(task: Keyed) -> Keyed:
    return Keyed(task.key.upper())


def test_a_record_of_another_key_is_refused(cluster: Cluster) -> None:
    assert cluster.map("rename", rename, [Keyed("A")]) == [Keyed("A")]
    with pytest.raises(MismatchError, match=r"rename: a worker returned .* B, expected b: it"):
        cluster.map("rename", rename, [Keyed("A"), Keyed("b")])


def test_an_interrupt_while_results_are_gathered_ends_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also one that Python loses, as in a callback of the garbage collector."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    gathering, sent = threading.Event(), list[float]()

    def gather(client: Client, futures: object, **options: Any) -> Any:
        gathering.set()
        return client.sync(asyncio.sleep, 20, **options)

    def interrupt() -> None:
        gathering.wait()
        time.sleep(0.5)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Client, "gather", gather)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with open_cluster(1, None, lambda *_: None) as cluster:
            with pytest.raises(KeyboardInterrupt):
                cluster.map("double", double, [1])
            assert time.monotonic() - sent[0] < 10
    finally:
        gathering.set()
        thread.join()
        signal.signal(signal.SIGINT, before)
