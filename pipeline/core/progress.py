"""Progress on stderr: bars on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from pipeline.core.units import format_bytes

# Between two lines of one stage in a log.
_SECONDS_BETWEEN_LINES = 10.0

Show = Callable[[str, int, int], None]
"""Called with a stage's name, how many of its tasks are done, and how many there are."""


def show_progress() -> AbstractContextManager[Show]:
    """Return what suits stderr."""
    return _bars(MofNCompleteColumn()) if sys.stderr.isatty() else _lines(_counts)


def show_bytes() -> AbstractContextManager[Show]:
    """Return what suits stderr, for stages whose tasks are bytes: their rate is shown too."""
    if sys.stderr.isatty():
        return _bars(DownloadColumn(binary_units=True), TransferSpeedColumn())
    return _lines(_sizes())


@contextmanager
def _bars(*numbers: ProgressColumn) -> Iterator[Show]:
    """Draw one bar a stage, in place."""
    stages: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), *numbers)
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:

        def show(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = progress.add_task(stage, total=total)
            progress.update(stages[stage], completed=done, total=total)

        yield show


def _counts(done: int, total: int) -> str:
    return f"{done}/{total}"


def _sizes() -> Callable[[int, int], str]:
    """Return what tells sizes, and the rate since now."""
    began = time.monotonic()

    def tell(done: int, total: int) -> str:
        rate = int(done / max(time.monotonic() - began, 0.001))
        return f"{format_bytes(done)}/{format_bytes(total)}, {format_bytes(rate)}/s"

    return tell


@contextmanager
def _lines(tell: Callable[[int, int], str]) -> Iterator[Show]:
    """Print a line when a stage ends, and every ten seconds while it lasts."""
    last = time.monotonic()

    def show(stage: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done == total or now - last >= _SECONDS_BETWEEN_LINES:
            last = now
            print(f"{stage}: {tell(done, total)}", file=sys.stderr, flush=True)

    yield show
