"""A cluster that stays up, started as a user would, and builds on it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from support import builds

Build = Callable[..., Path]


@contextmanager
def start_cluster(
    folder: Path, *options: str, protocol: str = "tcp", workers: int = 2, **variables: str
) -> Iterator[str]:
    """Start a cluster as a user would, a scheduler and some workers; yield its address.

    options: of both, such as those for `protocol` tls.
    """
    contact = folder / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    commands = [
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
         "--scheduler-file", str(contact), "--protocol", protocol],
        [*dask, "worker", "--scheduler-file", str(contact), "--nworkers", str(workers),
         "--nthreads", "1", "--no-dashboard", "--memory-limit", "0",
         "--local-directory", str(folder)],
    ]  # fmt: skip
    with (folder / "log").open("w") as log:
        processes = [
            subprocess.Popen(
                [*one, *options],
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


@contextmanager
def start_worker(address: str, folder: Path, *before: str, **variables: str) -> Iterator[None]:
    """Start one more worker, by a command line that begins with `before`."""
    command = [sys.executable, "-m", "dask", "worker", address, "--no-nanny", "--no-dashboard"]
    with (folder / "worker.log").open("w") as log:
        process = subprocess.Popen(
            [*before, *command, "--nthreads", "1", "--memory-limit", "0"],
            cwd=folder,
            env=builds.environment(**variables),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


def _address(contact: Path, log: Path) -> str:
    stop = time.monotonic() + 60
    while time.monotonic() < stop:
        if contact.exists() and contact.stat().st_size:
            return str(json.loads(contact.read_text())["address"])
        time.sleep(0.05)
    raise AssertionError(f"no scheduler: {log.read_text()}")
