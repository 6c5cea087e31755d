"""Slices and positions: for any ranks, micro-batches and stops, each row of the order once."""

import json
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.schedules import schedules
from support.strategies import QUICK

from pipeline.core.errors import InputError, MismatchError, NotFoundError
from pipeline.feed import position
from pipeline.feed.slices import MicroBatch, micro_batches, row_after
from pipeline.order.schedule import Schedule, num_rows_dropped

ORDER = "ab" * 32


def of_all_ranks(
    schedule: Schedule, num_rows: int, row: int, world_size: int, size: int
) -> list[tuple[MicroBatch, ...]]:
    ranks = [
        micro_batches(schedule, num_rows, row, rank, world_size, size) for rank in range(world_size)
    ]
    return list(zip(*ranks, strict=True))


legs = st.lists(
    st.tuples(st.integers(1, 9), st.integers(1, 12), st.integers(0, 12)), min_size=4, max_size=4
)
"""World size, rows of a micro-batch, and after how many micro-batches to stop; four times."""


@QUICK
@given(schedules(), legs)
def test_any_chain_of_three_resumes_takes_each_row_once(
    drawn: tuple[Schedule, int], legs: list[tuple[int, int, int]]
) -> None:
    schedule, num_rows = drawn
    row, seen = 0, []
    for i, (world_size, size, stop) in enumerate(legs):
        joint = of_all_ranks(schedule, num_rows, row, world_size, size)
        for micros in joint if i == 3 else joint[:stop]:
            rows = np.sort(np.concatenate([micro.rows for micro in micros])).tolist()
            (row,) = {micro.next_row for micro in micros}
            assert rows == list(range(row - len(rows), row))
            seen += rows
    assert seen == list(range(num_rows - num_rows_dropped(schedule, num_rows)))


@QUICK
@given(schedules(), st.integers(1, 9), st.integers(1, 12), st.data())
def test_ranks_take_a_step_together_and_a_step_is_as_the_schedule_says(
    drawn: tuple[Schedule, int], world_size: int, size: int, data: st.DataObject
) -> None:
    schedule, num_rows = drawn
    start = data.draw(st.integers(0, num_rows))
    taken: dict[int, list[int]] = {}
    for micros in of_all_ranks(schedule, num_rows, start, world_size, size):
        assert len({(micro.step, micro.next_row, micro.ends_step) for micro in micros}) == 1
        rows = taken.setdefault(micros[0].step, [])
        assert all(len(micro.rows) <= size for micro in micros)
        rows += np.concatenate([micro.rows for micro in micros]).tolist()
        assert micros[0].ends_step == (micros[0].next_row == schedule.rows(micros[0].step)[1])
    for step, rows in taken.items():
        first, stop = schedule.rows(step)
        assert sorted(rows) == list(range(max(first, start), stop))


@QUICK
@given(schedules(), st.integers(1, 9), st.integers(1, 12), st.data())
def test_the_row_after_some_micro_batches_is_where_they_lead(
    drawn: tuple[Schedule, int], world_size: int, size: int, data: st.DataObject
) -> None:
    schedule, num_rows = drawn
    start = data.draw(st.integers(0, num_rows))
    rows = [start]
    rows += [m.next_row for m in micro_batches(schedule, num_rows, start, 0, world_size, size)]
    for count, row in enumerate(rows):
        assert row_after(schedule, num_rows, start, world_size, size, count) == row
    with pytest.raises(NotFoundError, match=f"at most {len(rows) - 1:,}, as many as there are"):
        row_after(schedule, num_rows, start, world_size, size, len(rows))


def test_a_step_of_whole_micro_batches_is_cut_as_the_reference_cuts_it() -> None:
    schedule = Schedule(num_rows_per_step=8)
    mine = [micro.rows.tolist() for micro in micro_batches(schedule, 20, 0, 1, 2, 2)]
    assert mine == [[1, 3], [5, 7], [9, 11], [13, 15]]


def test_a_rank_without_a_row_has_an_empty_micro_batch() -> None:
    schedule = Schedule(num_rows_per_step=4)
    first, second = islice(micro_batches(schedule, 8, 3, 1, 2, 4), 2)
    assert (first.rows.tolist(), first.next_row, first.ends_step) == ([], 4, True)
    assert second.rows.tolist() == [5, 7]


@QUICK
@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_a_state_survives_json(one: int, other: int) -> None:
    row, num_rows = sorted((one, other))
    state = json.loads(json.dumps(position.describe_position(row, num_rows, ORDER)))
    assert position.row_of_position(state, num_rows, ORDER, "here") == row


GOOD = position.describe_position(3, 9, ORDER)


@pytest.mark.parametrize(
    ("state", "complaint"),
    [
        (None, "state: got NoneType, expected what state_dict returned"),
        ([GOOD], "state: got list"),
        ({}, "state: got the format None, expected 'ettin-feed-v1'"),
        ({"epoch": 0, "sample_in_epoch": 5}, "state: got the format None"),
        ({**GOOD, "format": "ettin-feed-v2"}, "state: got the format 'ettin-feed-v2'"),
        ({k: v for k, v in GOOD.items() if k != "row"}, "keys format, num_rows, order, expected"),
        ({**GOOD, "rank": 0}, "keys format, num_rows, order, rank, row, expected"),
        ({**GOOD, "row": -1}, "state: row: got -1, expected a number from 0"),
        ({**GOOD, "row": True}, "state: row: got True"),
        ({**GOOD, "row": 3.0}, "state: row: got 3.0"),
        ({**GOOD, "row": "3"}, "state: row: got '3'"),
        ({**GOOD, "num_rows": None}, "state: num_rows: got None"),
        ({**GOOD, "order": "ab"}, "state: order: got 'ab', expected 64 hex digits"),
        ({**GOOD, "order": 7}, "state: order: got 7"),
        ({**GOOD, "row": 10}, "state: row: got 10, expected at most 9"),
    ],
)
def test_what_is_no_state_is_refused(state: object, complaint: str) -> None:
    with pytest.raises(InputError) as caught:
        position.row_of_position(state, 9, ORDER, "here")
    assert complaint in caught.value.message


def test_a_state_of_another_order_is_refused() -> None:
    with pytest.raises(MismatchError, match=f"here: is order {'cd' * 32} of 9 rows, and the state"):
        position.row_of_position(GOOD, 9, "cd" * 32, "here")
    with pytest.raises(MismatchError, match=r"here: is order .* of 8 rows, and the state is of"):
        position.row_of_position(GOOD, 8, ORDER, "here")
