"""What several end-to-end tests share: a finished small build, and a cluster that stays up."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import builds
import pytest

# Tests run side by side; threads that wait for one another by spinning would be in their way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

Build = Callable[..., Path]


def pytest_runtest_setup() -> None:
    """Let what a test starts be interrupted, whoever started the tests or ran before."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small mixture's file, beside its inputs; not to be changed."""
    return builds.write_inputs(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def finished(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of the small mixture, built by the command with one worker; not to be changed."""
    out = tmp_path_factory.mktemp("finished") / "out"
    builds.run_well("build", small, "--out", out, "--workers", "1")
    return out


@pytest.fixture(scope="session")
def expected(finished: Path) -> dict[str, str]:
    """The digests of `finished`."""
    return builds.digests(finished)


@pytest.fixture(scope="session")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster that stays up."""
    with start_cluster(tmp_path_factory.mktemp("cluster")) as address:
        yield address


@contextmanager
def start_cluster(folder: Path, **variables: str) -> Iterator[str]:
    """Start a cluster as a user would, a scheduler and two workers; yield its address."""
    contact = folder / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    commands = [
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
         "--scheduler-file", str(contact)],
        [*dask, "worker", "--scheduler-file", str(contact), "--nworkers", "2", "--nthreads", "1",
         "--no-dashboard", "--memory-limit", "0", "--local-directory", str(folder)],
    ]  # fmt: skip
    with (folder / "log").open("w") as log:
        processes = [
            subprocess.Popen(
                one,
                cwd=folder,
                env=builds.environment(**variables),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            for one in commands
        ]
        try:
            yield _address(contact, folder / "log")
        finally:
            for process in processes:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=30)


def _address(contact: Path, log: Path) -> str:
    stop = time.monotonic() + 60
    while time.monotonic() < stop:
        if contact.exists() and contact.stat().st_size:
            return str(json.loads(contact.read_text())["address"])
        time.sleep(0.05)
    raise AssertionError(f"no scheduler: {log.read_text()}")


@pytest.fixture(scope="session")
def build_here(scheduler: str) -> Build:
    """Builds in this process on the cluster that stays up, which is quick, as all is warm."""
    from pipeline.build import build
    from pipeline.mixture import load

    def build_(mixture: Path, out: Path, *settings: str) -> Path:
        build(load(mixture, settings), out, workers=1, scheduler=scheduler, report=_quiet)
        return out

    return build_


def _quiet(stage: str, done: int, total: int) -> None:
    pass
