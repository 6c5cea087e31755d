"""Threshold: numbers in files of many partitions -> the one at which their weights reach a goal.

Tasks compute the numbers of some partitions again in each pass, so that nothing is stored and the
driver holds some bins. A run that was ended passes again.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from pipeline.core.arrays import Int64Array, Uint64Array
from pipeline.core.bins import Candidates, Last, Span
from pipeline.runner.cluster import Cluster

# Rows and partitions that a task goes through: seconds of work, and tasks enough for any cluster.
_ROWS_AT_ONCE = 1 << 22
_PARTITIONS_AT_ONCE = 256
Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)
Task = TypeVar("Task")
Result = TypeVar("Result")


class Numbered(Protocol):
    """A partition whose chunks or documents have numbers."""

    @property
    def num_rows(self) -> int:
        """Its rows, roughly: how long it takes to number them."""
        ...

    def numbers(self) -> tuple[Uint64Array, Int64Array]:
        """Return the numbers, and the weight of each. Pure but for the files that it reads."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What is looked for: the number at which the weights reach `goal`."""

    parts: Sequence[Numbered]
    goal: int
    """From 1 to the sum of all weights."""
    count: int
    """How many numbers there are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpanTask:
    """Some partitions in a row, and the numbers of them that count."""

    parts: Sequence[Numbered]
    first: int
    """The place of the first among all partitions of the search."""
    span: Span


def count_bins(task: SpanTask) -> Int64Array:
    """Return weights and counts by bin: int64 [2, num_bins]."""
    first, *others = task.parts
    bins = task.span.bins(*first.numbers())
    for part in others:
        bins += task.span.bins(*part.numbers())
    return bins


def find_candidates(task: SpanTask) -> list[Candidates]:
    """Return the numbers in the span, of each partition."""
    return [
        task.span.candidates(*part.numbers(), place)
        for place, part in enumerate(task.parts, task.first)
    ]


def find_last(cluster: Cluster, stage: str, searches: Sequence[Search]) -> list[Last]:
    """Carry out searches side by side; return what each finds."""
    spans = [Span(goal=one.goal, count=one.count) for one in searches]

    def tasks(number: int) -> list[SpanTask]:
        return _tasks(searches[number], spans[number])

    while wide := [number for number, span in enumerate(spans) if not span.is_narrow]:
        bins: dict[int, Int64Array] = {}
        for number, own in each_of(
            cluster, stage, count_bins, {number: tasks(number) for number in wide}
        ):
            bins[number] = bins.get(number, 0) + own
        for number in wide:
            spans[number] = spans[number].narrowed(bins[number])
    everything = {number: tasks(number) for number in range(len(searches))}
    candidates: dict[int, list[Candidates]] = {number: [] for number in everything}
    for number, found in each_of(cluster, stage, find_candidates, everything):
        candidates[number] += found
    return [span.last(candidates[number]) for number, span in enumerate(spans)]


def each_of(
    cluster: Cluster,
    stage: str,
    function: Callable[[Task], Result],
    tasks: Mapping[Key, Sequence[Task]],
) -> Iterator[tuple[Key, Result]]:
    """Run tasks that belong to something, all in one stage; yield results with what they are of."""
    owners = [owner for owner, own in tasks.items() for _ in own]
    joined = [task for own in tasks.values() for task in own]
    return zip(owners, cluster.each(stage, function, joined), strict=True)


def in_groups(items: Sequence[Item], sizes: Sequence[int]) -> Iterator[list[Item]]:
    """Yield items in groups of some million rows each, or of some hundred items. Pure."""
    group: list[Item] = []
    num_rows = 0
    for item, size in zip(items, sizes, strict=True):
        if group and (num_rows + size > _ROWS_AT_ONCE or len(group) == _PARTITIONS_AT_ONCE):
            yield group
            group, num_rows = [], 0
        group.append(item)
        num_rows += size
    if group:
        yield group


def _tasks(search: Search, span: Span) -> list[SpanTask]:
    tasks, first = [], 0
    for parts in in_groups(search.parts, [part.num_rows for part in search.parts]):
        tasks.append(SpanTask(parts=parts, first=first, span=span))
        first += len(parts)
    return tasks
