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
    folder: Path, *options: str, protocol: str = "tcp", **variables: str
) -> Iterator[str]:
    """Start a cluster as a user would, a scheduler and two workers; yield its address.

    options: of both, such as those for `protocol` tls.
    """
    contact = folder / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    commands = [
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
         "--scheduler-file", str(contact), "--protocol", protocol],
        [*dask, "worker", "--scheduler-file", str(contact), "--nworkers", "2", "--nthreads", "1",
         "--no-dashboard", "--memory-limit", "0", "--local-directory", str(folder)],
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


def _address(contact: Path, log: Path) -> str:
    stop = time.monotonic() + 60
    while time.monotonic() < stop:
        if contact.exists() and contact.stat().st_size:
            return str(json.loads(contact.read_text())["address"])
        time.sleep(0.05)
    raise AssertionError(f"no scheduler: {log.read_text()}")
