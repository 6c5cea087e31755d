"""Pace: exact where work is steady, between the rates that were seen, and honest when it stalls."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.progress import TASKS, Pace, Work, measured, work_of

SECONDS = st.floats(0.01, 500)


def fed(steps: list[tuple[float, int]]) -> tuple[Pace, float, int]:
    """Return a pace after steps of some seconds with some gain each, the time, and what is done."""
    now, done = 100.0, 0
    pace = Pace(now)
    for seconds, gained in steps:
        now, done = now + seconds, done + gained
        pace.update(now, done)
    return pace, now, done


@given(st.lists(st.integers(1, 300), min_size=1), st.integers(1, 10**9))
def test_a_steady_rate_is_found_whatever_the_pauses(pauses: list[int], rate: int) -> None:
    pace, now, done = fed([(float(one), one * rate) for one in pauses])
    if sum(pauses) < 3:
        assert pace.per_second(now) is None
        assert pace.seconds_left(now, done + rate) is None
        return
    assert pace.per_second(now) == pytest.approx(rate)
    assert pace.seconds_left(now, done + 100 * rate) == pytest.approx(100)


@given(st.lists(st.tuples(SECONDS, st.integers(1, 10**6)), min_size=1))
def test_a_rate_lies_between_those_that_were_seen(steps: list[tuple[float, int]]) -> None:
    pace, now, done = fed(steps)
    rate = pace.per_second(now)
    if now - 100 < 3:
        assert rate is None
        return
    seen = [gained / seconds for seconds, gained in steps]
    assert rate is not None
    assert min(seen) * 0.999 <= rate <= max(seen) * 1.001
    assert pace.seconds_left(now, done) == 0


@given(st.lists(st.tuples(SECONDS, st.integers(1, 10**6)), min_size=1), SECONDS, SECONDS)
def test_a_stall_makes_the_rate_fall_and_the_time_left_grow(
    steps: list[tuple[float, int]], idle: float, more: float
) -> None:
    pace, now, done = fed(steps)
    if now - 100 < 3:
        return
    rate = pace.per_second(now)
    assert rate is not None
    # One more of what is counted is not late before its time.
    late = now + 1 / rate + idle
    falling = [pace.per_second(at) for at in (now, now + 0.5 / rate, late, late + more)]
    assert falling[0] == pytest.approx(falling[1])
    assert falling[1] > falling[2] > falling[3] > 0  # type: ignore[operator]
    soon, later = (pace.seconds_left(at, done + 100) for at in (late, late + more))
    assert soon is not None
    assert later is not None
    assert later > soon > 99 / rate


def test_time_passes_while_a_long_task_runs() -> None:
    pace, now, done = fed([(100.0, 1), (100.0, 1)])
    assert pace.seconds_left(now, done + 3) == pytest.approx(300)
    assert pace.seconds_left(now + 60, done + 3) == pytest.approx(240)


def test_what_was_done_lately_weighs_most() -> None:
    pace, now, _ = fed([(1.0, 1000)] * 600 + [(1.0, 10)] * 300)
    rate = pace.per_second(now)
    assert rate is not None
    assert 10 < rate < 20


def test_what_was_done_before_the_beginning_makes_no_rate() -> None:
    pace = Pace(0.0, done=10**9)
    pace.update(10.0, 10**9 + 20)
    assert pace.per_second(10.0) == pytest.approx(2)


def test_nothing_done_is_no_rate_however_long_it_takes() -> None:
    pace = Pace(0.0)
    pace.update(1000.0, 0)
    assert pace.per_second(1000.0) is None
    assert pace.seconds_left(1000.0, 5) is None


def test_a_measured_function_says_what_it_has_read_and_another_nothing() -> None:
    @measured(lambda task, result: Work(num_bytes=task, num_tokens=result))
    def double(task: int) -> int:
        return 2 * task

    assert work_of(double, 4, double(4)) == Work(num_bytes=4, num_tokens=8)
    assert work_of(abs, 4, 4) == TASKS
    assert Work(unit="rows", num_bytes=1) + Work(num_bytes=2, num_tokens=3) == Work(
        unit="rows", num_bytes=3, num_tokens=3
    )
