"""Names of the files of a published order -> its files, by phase, window and first step.

Within a window, steps are consecutive: no gap, no overlap.

Source: the card of `jhu-clsp/ettin-data-order`: `checkpoint_000001/steps_000001_to_000100.parquet`;
steps are numbered from 1 in each folder.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.config import PHASES_OF_ORDERS
from pipeline.core.errors import InputError

_WINDOW = re.compile(r"(.+)_(\d+)")
_STEPS = re.compile(r"steps_(\d+)_to_(\d+)\.parquet")
_EXPECTED = "checkpoint_000001/steps_000001_to_000100.parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointWindow:
    """The folder of the rows between two checkpoints."""

    folder: str
    """Its name, like `checkpoint_000001`."""
    phase: str
    number: int
    """The number, from 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderFile:
    """A file of consecutive steps."""

    path: str
    """Its path below the folder that was opened."""
    window: CheckpointWindow
    steps: range | None
    """Its steps, from 1 in the window, by its name; None if the name has none."""


def arrange(where: str, paths: Iterable[str]) -> tuple[OrderFile, ...]:
    """Return the files of steps among `paths`, in order; other files are ignored.

    where: the folder, whose name is that of the window if the files lie directly in it.

    Raises: InputError when there is none, or steps of a window are missing or present twice.
    """
    paths = sorted(paths)
    named = (_order_file(where, path) for path in paths)
    files = [file for file in named if file is not None and file.steps is not None]
    direct = [file for file in files if "/" not in file.path]
    files = sorted(direct or files, key=_rank)
    if not files:
        some = ", ".join(path for path in paths[:3]) or "no files"
        raise InputError(f"{where}: got {some}, expected an order: files like {_EXPECTED}")
    _check(where, files)
    return tuple(files)


def lone(where: str, path: str) -> OrderFile:
    """Return a file that was opened by itself, from the folder `where`."""
    file = _order_file(where, path)
    assert file is not None
    return file


def _order_file(where: str, path: str) -> OrderFile | None:
    """Return the file of a path; None in a subfolder that has not the name of a window."""
    below, _, name = path.rpartition("/")
    folder = below or where.rstrip("/").rpartition("/")[2]
    match = _WINDOW.fullmatch(folder)
    if match is not None and "/" not in folder:
        window = CheckpointWindow(folder=folder, phase=match[1], number=int(match[2]))
    elif below:
        return None
    else:
        window = CheckpointWindow(folder=folder, phase=folder, number=1)
    match = _STEPS.fullmatch(name)
    steps = range(int(match[1]), int(match[2]) + 1) if match else None
    return OrderFile(path=path, window=window, steps=steps)


def _rank(file: OrderFile) -> tuple[int, str, int, int]:
    phase = file.window.phase
    # Unknown phases come last.
    known = PHASES_OF_ORDERS
    place = known.index(phase) if phase in known else len(known)
    assert file.steps is not None
    return place, phase, file.window.number, file.steps.start


def _check(where: str, files: list[OrderFile]) -> None:
    window, expected = None, 1
    for file in files:
        assert file.steps is not None
        if file.window != window:
            window, expected = file.window, 1
        first = file.steps.start
        if first != expected:
            what = "is missing" if first > expected else "is there twice"
            raise InputError(
                f"{where}/{file.path}: got steps from {first}, expected them from {expected}: step"
                f" {min(first, expected)} {what}",
                "pull the folder again",
            )
        if not file.steps:
            raise InputError(
                f"{where}/{file.path}: got steps {first} to {file.steps.stop - 1} in its name,"
                " expected them to rise"
            )
        expected = file.steps.stop
