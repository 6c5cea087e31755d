"""Progress: what a stage says of itself, and how fast it is.

Functions that take long call a `ReportProgress`; the command line shows what they report
(`cli/shown_progress.py`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

_MEMORY_SECONDS = 60.0
_LEAST_SECONDS = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What a stage counts, and what the finished part of it has read, as far as it knows."""

    unit: str = "tasks"
    """What `done` and `total` count."""
    num_bytes: int = 0
    num_tokens: int = 0

    def __add__(self, other: "Work") -> "Work":
        """Return the work of both, in the unit of the first."""
        return Work(
            unit=self.unit,
            num_bytes=self.num_bytes + other.num_bytes,
            num_tokens=self.num_tokens + other.num_tokens,
        )


TASKS = Work()


class ReportProgress(Protocol):
    """What a stage calls when it begins, and whenever more of it is done."""

    def __call__(self, stage: str, done: int, total: int, work: Work = TASKS, /) -> None:
        """Take a stage's name, how much of it is done, the total, and what `work` that was."""


def no_progress(stage: str, done: int, total: int, work: Work = TASKS, /) -> None:
    """Report nothing."""


def measured(work: Callable[[Any, Any], Work]) -> Callable[[Function], Function]:
    """Let a function of tasks say what it has read: `work` of a task and its result."""

    def mark(function: Function) -> Function:
        function.work = work  # type: ignore[attr-defined]
        return function

    return mark


def work_of(function: Callable[..., object], task: object, result: object) -> Work:
    """Return what a function has read for a task, if it is `measured`."""
    work: Callable[[Any, Any], Work] | None = getattr(function, "work", None)
    return TASKS if work is None else work(task, result)


class Pace:
    """How much is done in a second; what was done lately weighs most.

    The weight of a moment falls to 1/e within a minute. A rate is known after three seconds, from
    the first change on. Between two changes it stays for as long as one more of what is counted
    takes, and falls from then on, so that the time left of a stalled stage grows.
    """

    def __init__(self, now: float, done: int = 0) -> None:
        self._began = self._changed = now
        self._done = done
        # Weighted sums of what was done and of the time that it took.
        self._work = self._seconds = 0.0

    def update(self, now: float, done: int) -> None:
        """Take how much is done now, in seconds of any clock that never goes back."""
        seconds, gained = now - self._changed, done - self._done
        if seconds <= 0 or gained <= 0:
            return
        kept, weight = _fade(seconds)
        self._work = self._work * kept + gained / seconds * weight
        self._seconds = self._seconds * kept + weight
        self._changed, self._done = now, done

    def per_second(self, now: float) -> float | None:
        """Return the rate; None while too little is known."""
        if now - self._began < _LEAST_SECONDS or not self._work:
            return None
        kept, weight = _fade(max(0.0, now - self._changed - self._seconds / self._work))
        return self._work * kept / (self._seconds * kept + weight)

    def seconds_left(self, now: float, total: int) -> float | None:
        """Return how long the rest takes at this rate; None while too little is known."""
        rate = self.per_second(now)
        if not rate:
            return None
        begun = min(now - self._changed, self._seconds / self._work)
        return max(0.0, (total - self._done) / rate - begun)


def _fade(seconds: float) -> tuple[float, float]:
    """Return what is left of a weight after some seconds, and the weight of these seconds."""
    kept = math.exp(-seconds / _MEMORY_SECONDS)
    return kept, _MEMORY_SECONDS * (1 - kept)
