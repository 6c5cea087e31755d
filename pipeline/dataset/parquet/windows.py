"""The names of the files of a published order -> its windows and files, in order.

Enters: paths below a folder, in any order. Leaves: the files of steps, by phase, window and first
step as numbers. Invariant: within a window steps follow one another without a gap or an overlap.

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
    """The rows between two checkpoints: a folder."""

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
    """The window it is of."""
    first_step: int | None
    """The number of its first step in the window, by its name; None where the name says none."""
    last_step: int | None
    """The number of its last step."""

    @property
    def num_steps(self) -> int | None:
        """How many steps it is to hold, by its name."""
        if self.first_step is None or self.last_step is None:
            return None
        return self.last_step - self.first_step + 1


def arrange(where: str, paths: Iterable[str]) -> tuple[OrderFile, ...]:
    """Return the files of steps among `paths`, in order; other files are passed over.

    `where`: the folder, whose name is that of the window if the files lie directly in it.

    Raises: InputError when there is none, or steps of a window are missing or there twice.
    """
    paths = sorted(paths)
    own_name = where.rstrip("/").rpartition("/")[2]
    files = []
    for path in paths:
        folder, _, name = path.rpartition("/")
        steps = _STEPS.fullmatch(name)
        window = _window(folder or own_name, strict=bool(folder))
        if steps and window:
            first, last = int(steps[1]), int(steps[2])
            files.append(OrderFile(path=path, window=window, first_step=first, last_step=last))
    direct = [file for file in files if "/" not in file.path]
    files = sorted(direct or files, key=_rank)
    if not files:
        some = ", ".join(path for path in paths[:3]) or "no files"
        raise InputError(f"{where}: got {some}, expected an order: files like {_EXPECTED}")
    _check(where, files)
    return tuple(files)


def lone(where: str, path: str) -> OrderFile:
    """Return a file that was opened by itself; `where` is the folder it lies in."""
    window = _window(where.rstrip("/").rpartition("/")[2], strict=False)
    assert window is not None
    steps = _STEPS.fullmatch(path)
    first, last = (int(steps[1]), int(steps[2])) if steps else (None, None)
    return OrderFile(path=path, window=window, first_step=first, last_step=last)


def _window(folder: str, *, strict: bool) -> CheckpointWindow | None:
    """Return the window of a folder; one of any name is a window 1 unless `strict`."""
    match = _WINDOW.fullmatch(folder)
    if match is not None and "/" not in folder:
        return CheckpointWindow(folder=folder, phase=match[1], number=int(match[2]))
    return None if strict else CheckpointWindow(folder=folder, phase=folder, number=1)


def _rank(file: OrderFile) -> tuple[int, str, int, int]:
    phase = file.window.phase
    # A phase of another name comes after the known ones.
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
            first = min(file.first_step, expected)
            raise InputError(
                f"{where}/{file.path}: got steps from {file.first_step}, expected them from"
                f" {expected}: step {first if what != 'is missing' else expected} {what}",
                "pull the folder again",
            )
        if file.last_step < file.first_step:
            raise InputError(
                f"{where}/{file.path}: got steps {file.first_step} to {file.last_step} in its name,"
                " expected them to rise"
            )
