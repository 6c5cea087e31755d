"""Progress on stderr: bars on a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

# Between two lines of one stage in a log.
_SECONDS_BETWEEN_LINES = 10.0


class Bars:
    """One bar a stage, drawn in place."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )
        self._stages: dict[str, int] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` tasks of a stage are done."""
        if stage not in self._stages:
            self._stages[stage] = int(self._progress.add_task(stage, total=total))
        self._progress.update(self._stages[stage], completed=done, total=total)  # type: ignore[arg-type]

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()


class Lines:
    """A line when a stage ends, and every ten seconds while it lasts."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Log that `done` of `total` tasks of a stage are done."""
        now = time.monotonic()
        if done == total or now - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = now
            print(f"{stage}: {done}/{total}", file=sys.stderr, flush=True)

    def __enter__(self) -> "Lines":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass


def show_progress() -> Bars | Lines:
    """Return what suits stderr."""
    return Bars() if sys.stderr.isatty() else Lines()
