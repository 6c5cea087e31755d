"""A threshold: found over partitions, with as little sent and held for many rows as for few."""

import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from support.here import Here

from pipeline.core import bins
from pipeline.core.arrays import Int64Array, Uint64Array
from pipeline.core.seeds import random_numbers
from pipeline.runner import threshold
from pipeline.runner.cluster import Tasks
from pipeline.runner.threshold import Search, find_last, in_groups


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeUp:
    """A partition whose chunks are computed."""

    key: int
    num_rows: int

    def numbers(self) -> tuple[Uint64Array, Int64Array]:
        return random_numbers(self.key, self.num_rows), np.arange(self.num_rows) % 1000 + 1


class Weighed(Here):
    """Counts the bytes of tasks and results, as a scheduler sends them."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[int] = []

    def each(self, stage: str, function: Callable[[Any], Any], tasks: Tasks[Any]) -> Iterator[Any]:
        self.sent.append(len(pickle.dumps(tasks)))
        for result in super().each(stage, function, tasks):
            self.sent[-1] += len(pickle.dumps(result))
            yield result


def search(num_parts: int, rows_each: int) -> Search:
    parts = [MadeUp(key=key, num_rows=rows_each) for key in range(num_parts)]
    total = sum(int(part.numbers()[1].sum()) for part in parts)
    return Search(parts=parts, goal=total // 7, count=num_parts * rows_each)


def test_what_is_sent_depends_on_partitions_and_not_on_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bins, "FEW", 1000)
    monkeypatch.setattr(threshold, "_PARTITIONS_AT_ONCE", 5)
    sent = {}
    for rows_each in (1_000, 10_000, 100_000):
        cluster, own = Weighed(), search(20, rows_each)
        [last] = find_last(cluster, "draw", [own])
        assert len(cluster.sent) == 2, "a pass of bins, and one that sorts"
        sent[rows_each] = sum(cluster.sent)
        numbers, weights = map(
            np.concatenate, zip(*(part.numbers() for part in own.parts), strict=True)
        )
        order = np.argsort(numbers)
        reached = int(np.searchsorted(np.cumsum(weights[order]), own.goal))
        assert last.number == int(numbers[order[reached]])
        assert divmod(int(order[reached]), rows_each) == (last.part, last.position)
    # 4 tasks return 64 KiB of bins each, then some of the 2,000,000 numbers.
    assert max(sent.values()) < 4 * (64 << 10) + 40_000


def test_searches_go_side_by_side() -> None:
    searches = [search(1, 10), search(3, 7), search(2, 50)]
    cluster = Weighed()
    found = find_last(cluster, "draw", searches)
    assert len(cluster.sent) == 1, "so few that the first pass sorts them"
    assert found == [find_last(Here(), "draw", [one])[0] for one in searches]


def test_groups_are_of_some_rows_or_of_some_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threshold, "_PARTITIONS_AT_ONCE", 3)
    monkeypatch.setattr(threshold, "_ROWS_AT_ONCE", 10)
    sizes = [0, 0, 0, 0, 4, 6, 11, 1, 1, 9]
    assert list(in_groups(range(10), sizes)) == [[0, 1, 2], [3, 4, 5], [6], [7, 8], [9]]
    assert list(in_groups([], [])) == []
