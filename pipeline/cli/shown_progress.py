"""Progress on stderr: bars on a terminal, elsewhere a line a minute, or JSON for machines.

`docs/guide/command-line.md` lists the keys of the JSON.
"""

import json
import math
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from pipeline.cli.arguments import Arguments
from pipeline.core.progress import TASKS, Pace, ReportProgress, Work
from pipeline.core.shown import printable
from pipeline.core.units import format_bytes, format_tokens

_MINUTE = 60.0
# A stage that is shorter needs no rates.
_SHORT_SECONDS = 1.0

COMPILING = (
    "compiling code for the first time, which takes up to a minute or two; later commands have it"
)

Show = Callable[["Stage", float], None]
"""Called with a stage and the time."""


class Stage:
    """A stage as it was last reported, and its rates."""

    def __init__(self, name: str, done: int, now: float, place: Path | None = None) -> None:
        self.name, self.began, self.place = name, now, place
        self.first = self.done = self.total = done
        self.work = TASKS
        self._paces = {"done": Pace(now, done), "bytes": Pace(now), "tokens": Pace(now)}

    def update(self, done: int, total: int, work: Work, now: float) -> None:
        self.done, self.total, self.work = done, total, work
        for name, number in self._amounts().items():
            self._paces[name].update(now, number)

    @property
    def is_over(self) -> bool:
        return self.done >= self.total

    def facts(self, now: float) -> dict[str, Any]:
        """Return what `--json-progress` prints."""
        rates = {name: _rounded(self._per_second(name, now)) for name in self._paces}
        return {
            "event": "progress",
            "stage": self.name,
            "unit": self.work.unit,
            "done": self.done,
            "total": self.total,
            "per_second": rates["done"],
            "seconds": round(now - self.began, 3),
            "seconds_left": 0.0 if self.is_over else _rounded(self._seconds_left(now)),
            "bytes": self.work.num_bytes,
            "bytes_per_second": rates["bytes"],
            "tokens": self.work.num_tokens,
            "tokens_per_second": rates["tokens"],
            "disk_free_bytes": free_bytes(self.place),
        }

    def amount(self) -> str:
        """Return how much is done, as `12/96`."""
        if self.work.unit == "bytes":
            return f"{format_bytes(self.done)}/{format_bytes(self.total)}"
        return f"{self.done:,}/{self.total:,}"

    def details(self, now: float) -> str:
        """Return rates, the time left and the disk left; of a stage that is over how long it took.

        Empty for one that took less than a second.
        """
        seconds = now - self.began
        if self.is_over and seconds < _SHORT_SECONDS:
            return ""
        rates = {name: self._per_second(name, now) for name in self._amounts()}
        parts = [format_rate(rates["done"], self.work.unit)]
        if self.work.num_bytes and self.work.unit != "bytes":
            parts.append(format_rate(rates["bytes"], "bytes"))
        if self.work.num_tokens:
            parts.append(format_rate(rates["tokens"], "tokens"))
        if self.is_over:
            parts.insert(0, f"in {format_seconds(seconds)}")
        else:
            parts.append(f"{self.time_left(now)} left")
        if (free := free_bytes(self.place)) is not None:
            parts.append(f"{format_bytes(free)} free")
        return ", ".join(parts)

    def time_left(self, now: float) -> str:
        return format_seconds(0.0 if self.is_over else self._seconds_left(now))

    def _amounts(self) -> dict[str, int]:
        work = self.work
        return {"done": self.done, "bytes": work.num_bytes, "tokens": work.num_tokens}

    def _per_second(self, name: str, now: float) -> float | None:
        """Return a rate, lately; of a stage that is over, over all of its time."""
        if not self.is_over:
            return self._paces[name].per_second(now)
        gained = self._amounts()[name] - (self.first if name == "done" else 0)
        return gained / (now - self.began) if now > self.began else None

    def _seconds_left(self, now: float) -> float | None:
        return self._paces["done"].seconds_left(now, self.total)


class Printer:
    """Shows stages as lines: each when it ends, and one after every pause while it runs."""

    def __init__(
        self,
        show: Show,
        place: Path | None = None,
        *,
        pause: float = _MINUTE,
        shows_begin: bool = False,
    ) -> None:
        self._show, self._place, self._pause = show, place, pause
        self._shows_begin = shows_begin
        self._shown = time.monotonic()
        self._stage: Stage | None = None
        # Stages report while a thread shows that they still run.
        self._lock = threading.Lock()

    def report(self, stage: str, done: int, total: int, work: Work = TASKS, /) -> None:
        """As `ReportProgress`."""
        with self._lock:
            now = time.monotonic()
            one = self._stage
            begins = one is None or one.name != stage or done < one.done
            if one is None or begins:
                one = self._stage = Stage(stage, done, now, self._place)
            one.update(done, total, work, now)
            is_due = now - self._shown >= self._pause or (begins and self._shows_begin)
            if one.is_over or is_due:
                self._shown = now
                self._show(one, now)
            if one.is_over:
                self._stage = None

    def remind(self) -> None:
        """Show the stage that runs, if nothing was shown for a minute."""
        with self._lock:
            now = time.monotonic()
            if self._stage is not None and now - self._shown >= _MINUTE:
                self._shown = now
                self._show(self._stage, now)


def show_progress(
    parsed: Arguments, place: Path | str | None = None
) -> AbstractContextManager[ReportProgress]:
    """Show stages on stderr until the block ends. place: where to look how much disk is left."""
    place = place if isinstance(place, Path) else None
    if parsed.json_progress:
        return _printed(Printer(_print_json, place, pause=1.0, shows_begin=True))
    return _bars(place) if sys.stderr.isatty() else _printed(Printer(_print_line, place))


@contextmanager
def say_compiling(*, as_json: bool = False) -> Iterator[None]:
    """Say on stderr, once in the block, when code is compiled that no command has compiled yet."""
    from pipeline.core.compiled import announced

    def say() -> None:
        if as_json:
            print_json_line({"event": "compile"})
        else:
            print(COMPILING, file=sys.stderr, flush=True)

    with announced(say):
        yield


def say_next(parsed: Arguments, *commands: Sequence[object]) -> None:
    """Say on stderr which commands make sense next, each as its arguments."""
    lines = [shlex.join(["ettin-data", *map(str, one)]) for one in commands]
    if parsed.json_progress:
        print_json_line({"event": "next", "commands": lines})
        return
    for line in lines:
        print(printable(f"next: {line}"), file=sys.stderr)


def print_json_line(content: object) -> None:
    print(printable(json.dumps(content, ensure_ascii=False)), file=sys.stderr, flush=True)


def format_rate(per_second: float | None, unit: str) -> str:
    """Return a rate for people, as `3.1 tasks/min`, `42MiB/s` or `1.2M tokens/s`."""
    if per_second is None:
        return "?/s" if unit == "bytes" else f"? {unit}/s"
    if unit == "bytes":
        return f"{format_bytes(round(per_second))}/s"
    for name, seconds in (("s", 1), ("min", 60), ("h", 60 * 60)):
        if per_second * seconds >= 1 or name == "h":
            break
    number = per_second * seconds
    return f"{format_tokens(round(number)) if number >= 100 else f'{number:.2g}'} {unit}/{name}"


def format_seconds(seconds: float | None) -> str:
    """Return a time for people, as `12 s`, `3 min`, `2.5 h` or `1.5 days`; `?` for None."""
    if seconds is None:
        return "?"
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    if seconds < 60 * 60:
        return f"{math.ceil(seconds / 60)} min"
    hours = seconds / (60 * 60)
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:,.1f} days"


def free_bytes(place: Path | None) -> int | None:
    """Return how much may still be written at a place, which need not be there yet."""
    if place is None:
        return None
    for folder in (place, *place.absolute().parents):
        try:
            return shutil.disk_usage(folder).free
        except OSError:
            continue
    return None


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 3)


def _print_line(stage: Stage, now: float) -> None:
    details = stage.details(now)
    line = f"{stage.name}: {stage.amount()}"
    print(f"{line}, {details}" if details else line, file=sys.stderr, flush=True)


def _print_json(stage: Stage, now: float) -> None:
    print_json_line(stage.facts(now))


@contextmanager
def _printed(printer: Printer) -> Iterator[ReportProgress]:
    """Report to a printer, which a thread reminds of a task that takes long."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_MINUTE):
            printer.remind()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield printer.report
    finally:
        over.set()
        thread.join()


@contextmanager
def _bars(place: Path | None) -> Iterator[ReportProgress]:
    # Imported where a terminal needs it: most runs log lines.
    from rich import progress as rich
    from rich.console import Console
    from rich.text import Text

    stages: dict[rich.TaskID, Stage] = {}

    class Details(rich.ProgressColumn):
        max_refresh = 0.5

        def render(self, task: rich.Task) -> Text:
            stage = stages.get(task.id)
            text = "" if stage is None else f"{stage.amount()}  {stage.details(time.monotonic())}"
            return Text(text)

    columns = (rich.TextColumn("{task.description}", markup=False), rich.BarColumn(), Details())
    known: dict[str, rich.TaskID] = {}
    # What is printed meanwhile goes above the bars, unless it goes elsewhere.
    above = sys.stdout.isatty()
    with rich.Progress(*columns, console=Console(stderr=True), redirect_stdout=above) as progress:

        def show(name: str, done: int, total: int, work: Work = TASKS, /) -> None:
            now = time.monotonic()
            if name not in known:
                known[name] = progress.add_task(name, total=total)
            number = known[name]
            stage = stages.get(number)
            if stage is None or done < stage.done:
                stage = stages[number] = Stage(name, done, now, place)
            stage.update(done, total, work, now)
            progress.update(number, completed=done, total=total)

        yield show
