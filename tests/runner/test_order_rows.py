"""Ordering a pool: its shards are split into runs of as many bytes as one task takes."""

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.runner import order_rows


@QUICK
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=12), first=st.integers(0, 3))
def test_runs_are_consecutive_and_no_larger_than_they_must_be(sizes: list[int], first: int) -> None:
    limit = 50
    shards = list(range(first, first + len(sizes)))
    runs = list(order_rows._runs(shards, [0] * first + sizes, limit))
    assert list(chain.from_iterable(range(start, stop) for start, stop in runs)) == shards
    totals = [sum(sizes[start - first : stop - first]) for start, stop in runs]
    assert all(total <= limit for total in totals)
    # The shard after a run would not fit into it.
    assert all(
        total + sizes[stop - first] > limit
        for total, (_, stop) in zip(totals, runs, strict=True)
        if stop < first + len(sizes)
    )
