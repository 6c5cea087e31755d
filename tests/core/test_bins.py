"""Bins: the number that a search over parts finds is the one that sorting all of them finds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.core import bins
from pipeline.core.arrays import Int64Array, Uint64Array
from pipeline.core.bins import Last, Span

Parts = list[list[tuple[int, int]]]
"""Numbers and weights, by part."""

numbers = st.one_of(
    st.integers(0, 2**64 - 1),
    st.integers(0, 9),
    st.integers(2**64 - 9, 2**64 - 1),
    st.integers(0, 2**12).map(lambda bin_: bin_ << 52 if bin_ < 2**12 else 2**64 - 1),
)
parts_of_numbers = st.lists(
    st.lists(st.tuples(numbers, st.integers(0, 9)), max_size=12), min_size=1, max_size=5
).filter(lambda parts: sum(weight for part in parts for _, weight in part) > 0)


def arrays(parts: Parts) -> list[tuple[Uint64Array, Int64Array]]:
    return [
        (np.array([n for n, _ in own], np.uint64), np.array([w for _, w in own], np.int64))
        for own in parts
    ]


def search(parts: Parts, goal: int) -> Last:
    own = arrays(parts)
    span = Span(goal=goal, count=sum(map(len, parts)))
    while not span.is_narrow:
        span = span.narrowed(sum(span.bins(*part) for part in own))  # type: ignore[arg-type]
    return span.last(span.candidates(*part, place) for place, part in enumerate(own))


def sorted_all(parts: Parts, goal: int) -> Last:
    """Take one distinct number of a part after the other."""
    weights: dict[tuple[int, int, int], int] = {}
    firsts: dict[tuple[int, int], int] = {}
    for part, own in enumerate(parts):
        for position, (number, weight) in enumerate(own):
            first = firsts.setdefault((number, part), position)
            weights[number, part, first] = weights.get((number, part, first), 0) + weight
    total = 0
    for number, part, position in sorted(weights):
        total += weights[number, part, position]
        if total >= goal:
            largest = max(weights)[0]
            return Last(number=number, part=part, position=position, is_largest=number == largest)
    raise AssertionError("the goal is above the sum")


@pytest.mark.parametrize("few", [0, 3, bins.FEW])
def test_a_search_finds_what_sorting_finds(monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(bins, "FEW", few)

    @QUICK
    @given(parts=parts_of_numbers, data=st.data())
    def check(parts: Parts, data: st.DataObject) -> None:
        total = sum(weight for part in parts for _, weight in part)
        goal = data.draw(st.integers(1, total))
        assert search(parts, goal) == sorted_all(parts, goal)

    check()


def test_passes_are_few_and_a_span_of_uniform_numbers_holds_some_of_them() -> None:
    generator = np.random.default_rng(1)
    own = generator.integers(0, 2**64, 100_000, dtype=np.uint64)
    weights = generator.integers(1, 1024, 100_000)
    span = Span(goal=int(weights.sum()) // 3, count=10**9)
    narrowed = span.narrowed(span.bins(own, weights))
    assert narrowed.num_bits == 52
    assert 0 < narrowed.count < 100
    found = narrowed.last([narrowed.candidates(own, weights, 0)])
    order = np.argsort(own)
    reached = np.searchsorted(np.cumsum(weights[order]), span.goal)
    assert (found.number, found.position) == (int(own[order[reached]]), int(order[reached]))


def test_sums_are_exact_up_to_two_to_the_53() -> None:
    own, weights = np.array([5, 5, 1 << 60], np.uint64), np.array([2**52, 2**52 - 1, 1])
    sums, counts = Span(goal=1, count=3).bins(own, weights)
    assert [sums[0], sums.sum(), counts[0]] == [2**53 - 1, 2**53, 2]
