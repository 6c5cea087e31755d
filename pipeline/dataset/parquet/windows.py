"""Names of the files of a published order -> its files, by phase, window and first step.

Within a window, steps are consecutive: no gap, no overlap.

Source: the card of `jhu-clsp/ettin-data-order`: `checkpoint_000001/steps_000001_to_000100.parquet`;
steps are numbered from 1 in each folder.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

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
    """The name without the number."""
    number: int
    """The number, from 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderFile:
    """A file of consecutive steps."""

    path: str
    """Its path below the folder that was opened."""
    window: CheckpointWindow
    """Its window."""
    first_step: int | None
    """Its first step, from 1 in the window, by its name; None if the name has none."""
    last_step: int | None
    """Its last step."""

    @property
    def num_steps(self) -> int | None:
        """Its number of steps, by its name."""
        if self.first_step is None or self.last_step is None:
            return None
        return self.last_step - self.first_step + 1


def arrange(where: str, paths: Iterable[str]) -> tuple[OrderFile, ...]:
    """Return the files of steps among `paths`, in order; other files are ignored.

    where: the folder, whose name is that of the window if the files lie directly in it.

    Raises: InputError when there is none, or steps of a window are missing or present twice.
    """
    paths = sorted(paths)
    named = (_order_file(where, path) for path in paths)
    files = [file for file in named if file is not None and file.num_steps is not None]
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
    steps = _STEPS.fullmatch(name)
    first, last = (int(steps[1]), int(steps[2])) if steps else (None, None)
    return OrderFile(path=path, window=window, first_step=first, last_step=last)


def _rank(file: OrderFile) -> tuple[int, str, int, int]:
    phase = file.window.phase
    # Unknown phases come last.
    known = PHASES_OF_ORDERS
    place = known.index(phase) if phase in known else len(known)
    return place, phase, file.window.number, file.first_step or 0


def _check(where: str, files: list[OrderFile]) -> None:
    for before, file in pairwise([None, *files]):
        assert file is not None
        assert file.first_step is not None
        assert file.last_step is not None
        goes_on = before is not None and before.window == file.window
        expected = (before.last_step or 0) + 1 if before is not None and goes_on else 1
        if file.first_step != expected:
            what = "is missing" if file.first_step > expected else "is there twice"
            raise InputError(
                f"{where}/{file.path}: got steps from {file.first_step}, expected them from"
                f" {expected}: step {min(file.first_step, expected)} {what}",
                "pull the folder again",
            )
        if file.last_step < file.first_step:
            raise InputError(
                f"{where}/{file.path}: got steps {file.first_step} to {file.last_step} in its name,"
                " expected them to rise"
            )
