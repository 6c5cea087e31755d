"""Progress on stderr: bars on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

# Between two lines of one stage in a log.
_SECONDS_BETWEEN_LINES = 10.0

Show = Callable[[str, int, int], None]
"""Called with a stage's name, how many of its tasks are done, and how many there are."""


def show_progress() -> AbstractContextManager[Show]:
    """Return what suits stderr."""
    return _bars() if sys.stderr.isatty() else _lines()


@contextmanager
def _bars() -> Iterator[Show]:
    """Draw one bar a stage, in place."""
    stages: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:

        def show(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = progress.add_task(stage, total=total)
            progress.update(stages[stage], completed=done, total=total)

        yield show


@contextmanager
def _lines() -> Iterator[Show]:
    """Print a line when a stage ends, and every ten seconds while it lasts."""
    last = time.monotonic()

    def show(stage: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done == total or now - last >= _SECONDS_BETWEEN_LINES:
            last = now
            print(f"{stage}: {done}/{total}", file=sys.stderr, flush=True)

    yield show
