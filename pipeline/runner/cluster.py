"""Cluster: runs pure functions on tasks, in this process or on workers.

All state lies in files that tasks write, so only time is lost when a cluster dies.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from pipeline.core.limits import default_memory_bytes
from pipeline.core.progress import TASKS, ReportProgress, work_of
from pipeline.runner.attempt import attempt

Task = TypeVar("Task")
Task_co = TypeVar("Task_co", covariant=True)
Result = TypeVar("Result")


class Tasks(Protocol[Task_co]):
    """Tasks of a known number, which may be made while they are iterated over."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Task_co]: ...


class Cluster(ABC):
    """Runs pure functions."""

    @abstractmethod
    def each(
        self, stage: str, function: Callable[[Task], Result], tasks: Tasks[Task]
    ) -> Iterator[Result]:
        """Run a function on every task; yield the results in the order of the tasks.

        Tasks are made as they are run, and a result is held until those before it are there. What
        has not begun when the caller stops early is never run.

        Raises: the first error of a task.
        """

    def map(
        self, stage: str, function: Callable[[Task], Result], tasks: Tasks[Task]
    ) -> list[Result]:
        """Return all results, as `each` yields them."""
        return list(self.each(stage, function, tasks))

    def map_by_size(
        self,
        stage: str,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        size: Callable[[Task], int],
    ) -> list[Result]:
        """Return all results in the order of the tasks, of which the largest run first.

        So no worker begins a long task when the others have nothing left to do.
        """
        order = sorted(range(len(tasks)), key=lambda number: -size(tasks[number]))
        results = self.each(stage, function, [tasks[number] for number in order])
        placed = dict(zip(order, results, strict=True))
        return [placed[number] for number in range(len(tasks))]

    def memory_bytes(self) -> int:
        """Return how large a pool may be that tasks read at random."""
        return default_memory_bytes()


class InProcess(Cluster):
    """Runs each task when its result is asked for, in this process."""

    def __init__(self, report: ReportProgress, retried: Counter[str] | None = None) -> None:
        """`retried`: what to count attempts in that failed, by the error that passed."""
        self._report = report
        self._retried = Counter() if retried is None else retried

    def each(
        self, stage: str, function: Callable[[Task], Result], tasks: Tasks[Task]
    ) -> Iterator[Result]:
        if not len(tasks):
            return
        work = TASKS
        self._report(stage, 0, len(tasks), work)
        for done, task in enumerate(tasks, start=1):
            result, passed = attempt(function, task)
            self._retried.update(passed)
            work += work_of(function, task, result)
            self._report(stage, done, len(tasks), work)
            yield result

    def map_by_size(
        self,
        stage: str,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        size: Callable[[Task], int],
    ) -> list[Result]:
        """Return all results; one process gains nothing by another order."""
        return self.map(stage, function, tasks)
