"""A cluster whose workers share no folder for what they write, as machines of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support import builds


def can_part() -> bool:
    """Tell whether processes here can have disks of their own: mounts that no other sees."""
    tried = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
    )
    return tried.returncode == 0


@contextmanager
def start_machines(folder: Path, scratch: Path, number: int) -> Iterator[str]:
    """Start a scheduler and workers, each with its own disk at `scratch`; yield an address."""
    scratch.mkdir()
    contact, dask = folder / "scheduler.json", f"{sys.executable} -m dask"
    worker = (
        f"mount -t tmpfs tmpfs {scratch} && exec {dask} worker --scheduler-file {contact}"
        " --nworkers 1 --nthreads 1 --no-dashboard --memory-limit 0 --local-directory"
    )
    commands = [
        [*dask.split(), "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
         "--scheduler-file", str(contact)],
        *(["unshare", "-m", "sh", "-c", f"{worker} {folder}/{one}"] for one in range(number)),
    ]  # fmt: skip
    with (folder / "log").open("w") as log:
        processes = [
            subprocess.Popen(
                one, cwd=folder, env=builds.environment(), stdout=log, stderr=log,
                start_new_session=True,
            )
            for one in commands
        ]  # fmt: skip
        try:
            stop = time.monotonic() + builds.SECONDS
            while not contact.exists() or not contact.stat().st_size:
                assert time.monotonic() < stop, (folder / "log").read_text()
                time.sleep(0.05)
            yield str(json.loads(contact.read_text())["address"])
        finally:
            for process in processes:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=30)
