"""What tests read and none changes, made once for all processes that run them side by side."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return the folder `name` of this run of the tests; the first process to ask calls `make`.

    The others wait for it. Where `make` raises, the next one to ask begins in an empty folder.
    """
    base = factory.getbasetemp()
    # Each process of pytest-xdist has a folder of its own, `popen-gw0`, in one that they share.
    shared = base.parent if base.name.startswith("popen-") else base
    place, done = shared / "made-once" / name, shared / "made-once" / f"{name}.done"
    place.parent.mkdir(exist_ok=True)
    with (place.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            if place.exists():
                shutil.rmtree(place)
            place.mkdir()
            make(place)
            done.touch()
    return place
