"""Folder lock: files in the state of an output that processes lock, for themselves or together.

The system releases what a process holds when it ends, however it ends.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pipeline.core.errors import OutputError
from pipeline.core.files import open_below
from pipeline.dataset import State


def open_lock(state: State, path: Path) -> IO[str]:
    """Open a file below the state of an output, to lock it. Raises: OutputError."""
    try:
        # Not emptied, since it may be a stranger's.
        return os.fdopen(open_below(state.out, path, os.O_RDWR | os.O_CREAT), "w")
    except OSError as error:
        raise OutputError(
            f"{state.out}: cannot be written: {error.strerror}", "choose another --out"
        ) from error


def take(lock: IO[str], path: Path, *, shared: bool = False, waits: bool = False) -> bool:
    """Take the open lock at a path, or share what was taken; tell whether it could be had.

    waits: for others to release it. Raises: OutputError where the file system has no locks.
    """
    how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(lock, how if waits else how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be locked: {error.strerror}",
            "choose an --out on a file system that has locks",
        ) from error
    # Else the build that held it has just ended and removed it.
    return _is_named(lock, path)


@contextmanager
def entering(state: State) -> Iterator[None]:
    """Let one process in at a time, which takes no longer than to look who is there."""
    path = state.root / "entry"
    with open_lock(state, path) as lock:
        take(lock, path, waits=True)
        yield


def part_name(stage: str, part: object) -> str:
    return f"part {part} of {stage}"


def part_lock(state: State, stage: str, part: object) -> Path:
    """Return the lock of a part, which stays when it has ended."""
    return state.parts / f"{part_name(stage, part)}.lock".replace(" ", "-").replace("/", "-of-")


def running_parts(state: State) -> list[str]:
    """Return the parts that run in a folder, in words."""
    if not state.parts.exists():
        return []
    with entering(state):
        return held_parts(state)


def held_parts(state: State) -> list[str]:
    """Return the same, for who has entered."""
    held = []
    for path in sorted(state.parts.glob("*.lock")):
        with path.open("r+") as lock:
            if not take(lock, path):
                held.append(path.stem.replace("-of-", "/", 1).replace("-", " "))
    return held


def _is_named(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
