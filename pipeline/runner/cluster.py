"""Cluster: runs pure functions on tasks, in this process or on workers.

All state lies in files that tasks write, so only time is lost when a cluster dies.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from pipeline.core.progress import ReportProgress

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


class InProcess(Cluster):
    """Runs each task when its result is asked for, in this process."""

    def __init__(self, report: ReportProgress) -> None:
        self._report = report

    def each(
        self, stage: str, function: Callable[[Task], Result], tasks: Tasks[Task]
    ) -> Iterator[Result]:
        if not len(tasks):
            return
        self._report(stage, 0, len(tasks))
        for done, task in enumerate(tasks, start=1):
            result = function(task)
            self._report(stage, done, len(tasks))
            yield result
