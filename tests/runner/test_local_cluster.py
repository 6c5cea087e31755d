"""Local workers: they are started again a few times; who has no certificate is not let in."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from distributed import Client, Security

from pipeline.core.errors import PipelineError
from pipeline.runner import local_cluster
from pipeline.runner.open_cluster import open_cluster

AGAIN = "workers: none is left, starting them again"
LOST = r"^workers: none is left, after 3 starts of 2: [^\n]*\nhint: [^\n]*$"


def _quiet(stage: str, done: int, total: int, *_: object) -> None:
    pass


def double(number: int) -> int:
    return 2 * number


@contextmanager
def killing(lasts: Callable[[], bool]) -> Iterator[None]:
    """Kill every worker of this process, also one that starts, as long as `lasts` says so."""
    ended = threading.Event()

    def kill() -> None:
        while lasts() and not ended.wait(0.01):
            for process in multiprocessing.active_children():
                process.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(local_cluster.CONFIG, "distributed.scheduler.no-workers-timeout", "1s")


@pytest.mark.usefixtures("impatient")
def test_workers_that_are_all_lost_are_started_again(caplog: pytest.LogCaptureFixture) -> None:
    with open_cluster(2, None, _quiet) as cluster:
        with killing(lambda: AGAIN not in caplog.messages):
            assert cluster.map("double", double, range(20)) == [*range(0, 40, 2)]
        assert cluster.map("double", double, [1]) == [2]
    assert caplog.messages == [AGAIN]


@pytest.mark.usefixtures("impatient")
def test_workers_that_are_always_lost_end_in_one_line() -> None:
    with (
        open_cluster(2, None, _quiet) as cluster,
        killing(lambda: True),
        pytest.raises(PipelineError, match=LOST),
    ):
        cluster.map("double", double, range(20))


def pause(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def test_losing_a_worker_for_good_is_said_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.runner.dask_cluster._SECONDS_BETWEEN_CENSUSES", 0.2)
    with open_cluster(2, None, _quiet) as cluster:
        assert cluster.map("pause", pause, [0.3] * 6) == [0.3] * 6
        assert caplog.messages == []
        assert cluster._local is not None
        assert cluster._local._cluster is not None
        nanny = next(iter(cluster._local._cluster.workers.values()))
        nanny.close_gracefully()
        os.kill(nanny.pid, signal.SIGKILL)
        assert cluster.map("pause", pause, [0.3] * 8) == [0.3] * 8
    assert caplog.messages == [
        "workers: 1 of 2 are lost and do not come back; the rest go on, slower"
    ]


def test_workers_that_are_killed_while_they_start_end_in_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        killing(lambda: True),
        pytest.raises(PipelineError, match=LOST),
        open_cluster(2, None, _quiet),
    ):
        pass
    assert caplog.messages == [AGAIN, AGAIN]


def test_nobody_without_the_certificate_of_the_run_is_let_in() -> None:
    local = local_cluster.LocalWorkers(1)
    try:
        client = local.start()
        workers = client.scheduler_info()["workers"]
        nannies = [one["nanny"] for one in workers.values()]
        addresses = [client.scheduler.address, *workers, *nannies]
        assert len(addresses) == 3
        for address in addresses:
            assert address.startswith("tls://127.0.0.1:")
            for scheme, security in (("tcp", None), ("tls", Security.temporary())):
                with pytest.raises(OSError, match=r"Timed out|reset by|TLS certificate"):
                    Client(
                        address.replace("tls", scheme), security=security, timeout="1s",
                        set_as_default=False,
                    )  # fmt: skip
        assert client.submit(double, 2).result(timeout=30) == 4
    finally:
        local.stop()
