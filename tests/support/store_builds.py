"""Builds into a store: the command with a short lease, and what lies at an address."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from support import builds

from pipeline.storage.writable_store import WritableStore

LEASE_SECONDS = 3
_MAIN = f"""
import sys
from pipeline.storage import lease
lease.SECONDS = {LEASE_SECONDS}
from pipeline.cli import main
sys.exit(main(sys.argv[1:]))
"""


def command(*arguments: str | Path) -> list[str]:
    """Return the command line of `ettin-data` with a lease that ends soon."""
    return [sys.executable, "-c", _MAIN, *map(str, arguments)]


def run(*arguments: str | Path, **variables: str) -> builds.Finished:
    return subprocess.run(
        command(*arguments),
        env=builds.environment(**variables),
        capture_output=True,
        text=True,
        timeout=builds.SECONDS,
        check=False,
    )


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """Start it as the head of a group of processes."""
    return subprocess.Popen(
        command(*arguments),
        env=builds.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(process: subprocess.Popen[str], address: str) -> None:
    """Return when a command that runs has written the object at an address."""
    folder, _, name = address.rpartition("/")
    store, stop = WritableStore(folder), time.monotonic() + builds.SECONDS
    while store.head(name) is None:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < stop
        time.sleep(0.05)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a command and all its workers."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    while builds.group_members(process.pid):
        time.sleep(0.02)


def digests(address: str) -> dict[str, str]:
    """Return the sha256 of each object below an address."""
    store = WritableStore(address)
    contents = {name: store.get(name) for name in store.list()}
    return {name: hashlib.sha256(data or b"").hexdigest() for name, data in contents.items()}
