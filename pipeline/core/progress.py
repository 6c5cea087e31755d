"""Progress on stderr: bars on a terminal, plain lines elsewhere.

Functions that take long call a `ReportProgress`; the command line passes one made here.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from pipeline.core.units import format_bytes

_SECONDS_BETWEEN_LINES = 10.0

ReportProgress = Callable[[str, int, int], None]
"""Called with a stage's name, how many of its tasks, rows or bytes are done, and the total."""


def show_progress() -> AbstractContextManager[ReportProgress]:
    """Show stages whose tasks are counted."""
    return _bars(in_bytes=False) if sys.stderr.isatty() else _lines("{}/{}".format)


def show_bytes() -> AbstractContextManager[ReportProgress]:
    """Show stages whose tasks are bytes, with their rate."""
    return _bars(in_bytes=True) if sys.stderr.isatty() else _lines(_sizes_since(time.monotonic()))


@contextmanager
def _bars(*, in_bytes: bool) -> Iterator[ReportProgress]:
    # Imported where a terminal needs it: most runs log lines.
    from rich import progress as rich
    from rich.console import Console

    numbers = (
        (rich.DownloadColumn(binary_units=True), rich.TransferSpeedColumn())
        if in_bytes
        else (rich.MofNCompleteColumn(),)
    )
    columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), *numbers)
    stages: dict[str, rich.TaskID] = {}
    console = Console(stderr=True)
    with rich.Progress(*columns, rich.TimeElapsedColumn(), console=console) as progress:

        def show(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = progress.add_task(stage, total=total)
            progress.update(stages[stage], completed=done, total=total)

        yield show


def _sizes_since(began: float) -> Callable[[int, int], str]:
    def sizes(done: int, total: int) -> str:
        rate = int(done / max(time.monotonic() - began, 0.001))
        return f"{format_bytes(done)}/{format_bytes(total)}, {format_bytes(rate)}/s"

    return sizes


@contextmanager
def _lines(describe: Callable[[int, int], str]) -> Iterator[ReportProgress]:
    """Print a line when a stage ends, and every ten seconds while it runs."""
    last = time.monotonic()

    def show(stage: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done == total or now - last >= _SECONDS_BETWEEN_LINES:
            last = now
            print(f"{stage}: {describe(done, total)}", file=sys.stderr, flush=True)

    yield show
