"""Schedules: steps cover the rows, resuming changes nothing, and the published warm-up is exact."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.core.arrays import Int64Array
from pipeline.core.errors import ConfigError
from pipeline.order.schedule import (
    Schedule,
    WarmUpRule,
    num_rows_dropped,
    slice_of,
    steps_from,
)

# What the published rule does, step by step and rank by rank


def published_sizes(
    min_rows: int, max_rows: int, num_tokens: int, num_ranks: int, row_tokens: list[int]
) -> list[int]:
    """Return the sizes of one rank's steps, as the published loop finds them."""
    tokens = math.ceil(num_tokens / num_ranks)
    sizes = []
    fed = row = 0
    while True:
        size = max_rows
        if fed < tokens:
            for candidate in range(min_rows, max_rows):
                upto = sum(range(min_rows, candidate + 1))
                if fed < math.ceil(tokens / sum(range(min_rows, max_rows)) * upto):
                    size = candidate
                    break
        if row + size > len(row_tokens):
            return sizes
        sizes.append(size)
        fed += sum(row_tokens[row : row + size])
        row += size


@st.composite
def rules(draw: st.DrawFn) -> WarmUpRule:
    min_rows = draw(st.integers(1, 5))
    return WarmUpRule(
        min_rows=min_rows,
        max_rows=min_rows + draw(st.integers(1, 6)),
        num_tokens=draw(st.integers(0, 2_000)),
        num_ranks=draw(st.integers(1, 4)),
    )


row_tokens = st.builds(
    lambda seed, num_rows: np.random.default_rng(seed).integers(0, 40, num_rows),
    st.integers(0, 2**32),
    st.integers(0, 400),
)


def sizes_of(schedule: Schedule, num_rows: int) -> list[int]:
    return [stop - start for _, start, stop in steps_from(schedule, 0, num_rows)]


@QUICK
@given(rule=rules(), tokens=row_tokens)
def test_the_warm_up_is_the_published_one_of_rank_0(rule: WarmUpRule, tokens: Int64Array) -> None:
    # A step needs rows for all ranks.
    whole = tokens[: len(tokens) // rule.num_ranks * rule.num_ranks]
    expected = published_sizes(
        rule.min_rows,
        rule.max_rows,
        rule.num_tokens,
        rule.num_ranks,
        whole[:: rule.num_ranks].tolist(),
    )
    found = sizes_of(rule.schedule(tokens), len(tokens))
    assert found == [size * rule.num_ranks for size in expected]


def test_the_warm_up_of_a_worked_example() -> None:
    # 10 and 10 + 20 of 60 tokens: two steps of each size where a row has 5 tokens.
    rule = WarmUpRule(min_rows=1, max_rows=4, num_tokens=60, num_ranks=1)
    assert rule.thresholds() == [10, 30, 60]
    fed_tokens = (0, 9, 10, 29, 30, 59, 60, 1_000)
    assert [rule._rows_after(fed, rule.thresholds()) for fed in fed_tokens] == [
        1, 1, 2, 2, 3, 3, 4, 4,
    ]  # fmt: skip
    schedule = rule.schedule(np.full(22, 5))
    assert schedule.starts == (0, 1, 2, 4, 6, 9, 12)
    assert sizes_of(schedule, 22) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert num_rows_dropped(schedule, 22) == 2


def test_tokens_are_of_all_ranks_and_rows_of_one() -> None:
    rule = WarmUpRule(min_rows=1, max_rows=4, num_tokens=239, num_ranks=4)
    assert rule.num_rank_tokens == 60
    assert rule.thresholds() == [10, 30, 60]
    assert rule.schedule(np.full(64, 5)).starts == (0, 4, 8, 16, 24, 36, 48)


def test_the_thresholds_of_fifty_billion_tokens_on_eight_ranks() -> None:
    rule = WarmUpRule(min_rows=1, max_rows=6, num_tokens=50_000_000_000, num_ranks=8)
    parts = [416_666_667, 1_250_000_000, 2_500_000_000, 4_166_666_667, 6_250_000_000]
    assert rule.thresholds() == parts


def test_the_warm_up_ends_with_its_tokens_even_where_rounding_puts_a_threshold_above() -> None:
    rule = WarmUpRule(min_rows=1, max_rows=6, num_tokens=31, num_ranks=1)
    assert rule.thresholds()[-1] == 32
    assert [rule._rows_after(fed, rule.thresholds()) for fed in (30, 31, 32)] == [5, 6, 6]


def test_the_count_follows_rank_0_alone() -> None:
    rule = WarmUpRule(min_rows=1, max_rows=2, num_tokens=20, num_ranks=2)
    tokens = np.tile([2, 1_000_000], 20)
    assert rule.schedule(tokens).starts == (0, 2, 4, 6, 8, 10)


def test_only_the_rows_of_the_warm_up_need_be_known() -> None:
    rule = WarmUpRule(min_rows=1, max_rows=4, num_tokens=60, num_ranks=1)
    tokens = np.full(1_000, 5)
    schedule = rule.schedule(tokens[:12])
    assert schedule.starts == rule.schedule(tokens).starts
    assert schedule.num_steps(1_000) == 6 + (1_000 - 12) // 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_rows": 0}, "warm-up: got 0 to 4 rows, expected at least 1 and growing"),
        ({"min_rows": 4}, "warm-up: got 4 to 4 rows, expected at least 1 and growing"),
        (
            {"num_tokens": -1},
            "warm-up: got -1 tokens over 2 ranks, expected at least 0 tokens over at least 1 rank",
        ),
        (
            {"num_ranks": 0},
            "warm-up: got 60 tokens over 0 ranks, expected at least 0 tokens over at least 1 rank",
        ),
    ],
)
def test_an_impossible_warm_up_is_refused(changes: dict[str, int], message: str) -> None:
    given = {"min_rows": 1, "max_rows": 4, "num_tokens": 60, "num_ranks": 2}
    with pytest.raises(ConfigError) as raised:
        WarmUpRule(**{**given, **changes})
    assert raised.value.message == message


# What holds of every schedule


@st.composite
def schedules(draw: st.DrawFn) -> tuple[Schedule, int]:
    """A schedule, and how many rows there are."""
    if draw(st.booleans()):
        return Schedule(num_rows_per_step=draw(st.integers(1, 40))), draw(st.integers(0, 300))
    tokens = draw(row_tokens)
    return draw(rules()).schedule(tokens), len(tokens)


@QUICK
@given(drawn=schedules())
def test_steps_follow_one_another_and_what_is_left_is_less_than_a_step(
    drawn: tuple[Schedule, int],
) -> None:
    schedule, num_rows = drawn
    ranges = [schedule.rows(step) for step in range(schedule.num_steps(num_rows) + 1)]
    assert ranges[0][0] == 0
    assert all(one[1] == other[0] for one, other in pairwise(ranges))
    start, stop = ranges[-1]
    assert start <= num_rows < stop
    assert num_rows_dropped(schedule, num_rows) == num_rows - start
    for row in range(num_rows):
        first, last = schedule.rows(schedule.step_of(row))
        assert first <= row < last


@QUICK
@given(drawn=schedules(), data=st.data())
def test_resuming_anywhere_equals_never_stopping(
    drawn: tuple[Schedule, int], data: st.DataObject
) -> None:
    schedule, num_rows = drawn
    row = data.draw(st.integers(0, num_rows))
    never_stopped = list(steps_from(schedule, 0, num_rows))
    rows = {place: step for step, start, stop in never_stopped for place in range(start, stop)}
    resumed = [
        (place, step)
        for step, start, stop in steps_from(schedule, row, num_rows)
        for place in range(start, stop)
    ]
    assert resumed == [(place, step) for place, step in rows.items() if place >= row]
    if row in {start for _, start, _ in never_stopped}:
        later = [taken for taken in never_stopped if taken[1] >= row]
        assert list(steps_from(schedule, row, num_rows)) == later


@QUICK
@given(drawn=schedules(), world_size=st.integers(1, 9))
def test_the_slices_of_all_ranks_join_to_the_step(
    drawn: tuple[Schedule, int], world_size: int
) -> None:
    schedule, num_rows = drawn
    for _, start, stop in steps_from(schedule, 0, num_rows):
        slices = [list(slice_of(start, stop, rank, world_size)) for rank in range(world_size)]
        joined = [
            taken[turn] for turn in range(len(slices[0])) for taken in slices if turn < len(taken)
        ]
        assert joined == list(range(start, stop))


def test_a_slice_is_that_of_the_published_sampler() -> None:
    # Rank r at step u takes positions 4 · (1152 · u + j) + r, in order of j.
    start, stop = Schedule(num_rows_per_step=4608).rows(7)
    for rank in range(4):
        expected = [4 * (1152 * 7 + j) + rank for j in range(1152)]
        found = slice_of(start, stop, rank, 4)
        assert list(found) == expected
        assert list(found[72:144]) == expected[72:144]


def test_steps_of_published_size_are_found_without_a_list() -> None:
    schedule = Schedule(num_rows_per_step=4608)
    assert schedule.num_steps(2_800_000_000) == 607_638
    assert num_rows_dropped(schedule, 2_800_000_000) == 4_096
    assert schedule.step_of(599_524 * 4608 + 4607) == 599_524


def boundaries(schedule: Schedule) -> list[int]:
    return [schedule.rows(step)[0] for step in range(len(schedule.starts) + 3)]


def test_a_lookup_goes_on_after_the_warm_up_as_before() -> None:
    schedule = Schedule(starts=(0, 2, 5), num_rows_per_step=10)
    assert boundaries(schedule) == [0, 2, 5, 15, 25, 35]
    assert [schedule.step_of(row) for row in (0, 1, 2, 4, 5, 14, 15, 34)] == [
        0,
        0,
        1,
        1,
        2,
        2,
        3,
        4,
    ]
