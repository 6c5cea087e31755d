"""The feed: resume anywhere equals never stopping, and the order never shifts."""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fed_rows import (
    CLS,
    OBJECTIVES,
    SEP,
    Listed,
    a_feed,
    array,
    as_rows,
    by_row,
    digests,
    made,
    same,
)
from support.schedules import schedules
from support.strategies import QUICK

from pipeline.core.arrays import Int64Array
from pipeline.core.errors import (
    InputError,
    MismatchError,
    NotFoundError,
)
from pipeline.core.ragged import Rows
from pipeline.dataset.blake3 import row_digests
from pipeline.feed.batch import Batch, Clm, Mlm, Objective
from pipeline.order.schedule import Schedule

# Resume.


@QUICK
@given(
    schedules(),
    st.lists(
        st.tuples(*(st.integers(1, top) for top in (5, 7, 4)), st.integers(0, 8)),
        min_size=4,
        max_size=4,
    ),
    st.sampled_from(OBJECTIVES[:2]),
    st.randoms(use_true_random=False),
)
def test_any_chain_of_three_resumes_feeds_what_one_run_feeds(
    drawn: tuple[Schedule, int],
    legs: list[tuple[int, int, int, int]],
    objective: Objective,
    random: Any,
) -> None:
    """World size, micro-batch and workers change at each stop, which may be inside a step."""
    schedule, num_rows = drawn
    listed = Listed(made(num_rows))
    told: dict[str, Any] = {"schedule": schedule, "objective": objective}
    straight = by_row(a_feed(listed, **told, micro_batch_rows=4))
    assert list(straight) == list(range(a_feed(listed, **told).num_rows))
    state = a_feed(listed, **told).state_dict()
    resumed: list[Batch] = []
    for i, (world_size, size, num_workers, stop) in enumerate(legs):
        states = []
        for rank in range(world_size):
            feed = a_feed(listed, **told, micro_batch_rows=size, world_size=world_size, rank=rank)
            feed.load_state_dict(json.loads(json.dumps(state)))
            workers = [feed.batches(worker, num_workers) for worker in range(num_workers)]
            batches = list(islice(in_turn(workers), None if i == 3 else stop))
            feed.seek_row(feed.position_after(len(batches)))
            states.append(feed.state_dict())
            resumed += batches
        assert all(one == states[0] for one in states)
        state = random.choice(states)
    assert sorted(by_row(resumed).items()) == list(straight.items())


def in_turn(workers: list[Iterator[Batch]]) -> Iterator[Batch]:
    """Yield one of each in turn, as a loader takes them, to the end of the first that ends."""
    while True:
        for worker in workers:
            batch = next(worker, None)
            if batch is None:
                return
            yield batch


@QUICK
@given(
    schedules(),
    st.integers(1, 4),
    st.integers(1, 6),
    st.sampled_from(OBJECTIVES),
    st.sampled_from(["flat", "padded"]),
    st.data(),
)
def test_to_resume_anywhere_is_never_to_have_stopped(
    drawn: tuple[Schedule, int],
    world_size: int,
    size: int,
    objective: Objective | None,
    form: str,
    data: st.DataObject,
) -> None:
    schedule, num_rows = drawn
    rank = data.draw(st.integers(0, world_size - 1))
    told: dict[str, Any] = {
        "schedule": schedule, "objective": objective, "form": form, "rank": rank,
        "world_size": world_size, "micro_batch_rows": size, "digests": True,
    }  # fmt: skip
    listed = Listed(made(num_rows))
    straight = list(a_feed(listed, **told))
    stop = data.draw(st.integers(0, len(straight)))
    first = a_feed(listed, **told)
    begun = list(islice(first, stop))
    second = a_feed(listed, **told)
    second.load_state_dict(first.state_dict())
    batches = [*begun, *second]
    assert len(batches) == len(straight)
    assert all(map(same, batches, straight))
    assert list(second) == []


def test_a_feed_goes_on_where_it_stands_and_moves_with_each_batch() -> None:
    feed = a_feed(made(24))
    first = next(iter(feed))
    assert (first.rows.tolist(), feed.row, feed.state_dict()["row"]) == ([0, 1, 2], 3, 3)
    assert [batch.rows[0] for batch in feed] == [3, 6, 8, 11, 14, 16, 19, 22]
    feed.seek_step(1)
    assert next(iter(feed)).rows.tolist() == [8, 9, 10]
    assert [batch.rows[0] for batch in feed.batches(1, 2)] == [14, 19]
    assert feed.row == 11


def test_seeking_beyond_the_order_is_refused() -> None:
    feed = a_feed(made(20))
    assert (feed.num_steps, feed.num_rows, feed.num_rows_dropped) == (2, 16, 4)
    feed.seek_step(2)
    assert list(feed) == []
    with pytest.raises(NotFoundError, match="somewhere: got step 3, expected one of 0 to 2"):
        feed.seek_step(3)
    feed.seek_row(20)
    assert list(feed) == []
    for row in (-1, 21):
        with pytest.raises(NotFoundError, match=f"somewhere: got row {row}, expected one of 0 to"):
            feed.seek_row(row)


def test_a_state_takes_whatever_a_framework_hands_it_and_comes_from_any_rank() -> None:
    feeds = [a_feed(made(24), rank=rank, world_size=2) for rank in range(2)]
    for feed in feeds:
        next(iter(feed))
    state = {"format": "ettin-feed-v1", "row": 6, "num_rows": 24, "order": "ab" * 32}
    assert [feed.state_dict(128, True) for feed in feeds] == [state, state]


def test_a_state_of_another_order_is_refused_and_the_feed_stays_where_it_was() -> None:
    feed = a_feed(made(24), row=8)
    other = a_feed(Listed(made(23)))
    with pytest.raises(MismatchError, match=r"somewhere: is order .* of 24 rows"):
        feed.load_state_dict(other.state_dict())
    with pytest.raises(InputError, match="state: got the format None"):
        feed.load_state_dict({})
    assert feed.row == 8


# Batches.


def test_a_batch_says_what_it_holds() -> None:
    listed = Listed(made(24))
    feed = a_feed(listed, world_size=2, rank=1, digests=True, objective=Clm())
    batches = list(feed)
    assert [batch.rows.tolist() for batch in batches[:2]] == [[1, 3, 5], [7]]
    assert [(batch.step, batch.next_row, batch.ends_step) for batch in batches[:3]] == [
        (0, 6, False), (0, 8, True), (1, 14, False),
    ]  # fmt: skip
    for batch in batches:
        stored = as_rows([listed.rows[row] for row in batch.rows])
        assert np.array_equal(digests(batch), row_digests(stored.values, stored.offsets))
        assert batch.num_tokens == array(batch, "input_ids").size == batch.inputs["num_tokens"]
        assert batch.num_labels == batch.num_tokens - len(batch.rows)
        assert not len(batch.tombstones)
    unlabelled = next(iter(a_feed(listed, objective=None)))
    assert unlabelled.num_labels == 0
    assert unlabelled.digests is None
    assert "labels" not in unlabelled.inputs


@pytest.mark.parametrize("form", ["flat", "padded"])
def test_a_rank_without_a_row_is_fed_one_of_which_nothing_is_predicted(form: str) -> None:
    feed = a_feed(made(8), world_size=4, rank=3, row=5, form=form, digests=True, objective=Clm())
    (batch,) = feed
    assert (batch.rows.tolist(), batch.next_row, batch.ends_step) == ([], 8, True)
    assert array(batch, "input_ids").tolist() == [[CLS, SEP]]
    assert array(batch, "labels").tolist() == [[-100, -100]]
    assert (batch.num_tokens, batch.num_labels, digests(batch).shape) == (0, 0, (0, 32))


def test_rows_are_fed_under_the_view_of_the_objective() -> None:
    rows = [[1, 2, 3, 4, 5, 6, 7]] * 8
    views: dict[Objective | None, list[int]] = {
        Mlm(mask_prob=1e-9, seed=0): [CLS, 1, 2, 3, 4, SEP],
        Clm(): [CLS, 1, 2, 3, 4, 5],
        None: [1, 2, 3, 4, 5, 6, 7],
    }
    for objective, row in views.items():
        (batch,) = a_feed(rows, objective=objective, micro_batch_rows=8, form="padded")
        assert array(batch, "input_ids").tolist() == [row] * 8


def test_a_rank_reads_its_own_rows_alone() -> None:
    listed = Listed(made(240))
    list(a_feed(listed, world_size=4, rank=2))
    assert listed.num_taken == 60


def test_a_row_that_is_too_long_and_not_to_be_cut_is_named() -> None:
    rows = [*made(8), [1] * 30, *made(15)]
    with pytest.raises(InputError, match="somewhere: row 8: got 30 ids, expected at most 29"):
        list(a_feed(rows, objective=None, max_seq_len=29))
    assert len(list(a_feed(rows, objective=None, max_seq_len=30))) == 9


def test_memory_is_bounded_by_ids_whatever_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.feed.feed._BLOCK_IDS", 50)
    asked = []

    class Watched(Listed):
        def take(self, rows: Int64Array) -> Rows:
            asked.append(len(rows))
            return super().take(rows)

    list(a_feed(Watched([[1] * 5] * 80), objective=None))
    assert asked[0] == 3  # The first micro-batch comes by itself.
    assert max(asked) == 11  # Ten rows, to the end of a micro-batch.
    asked.clear()
    monkeypatch.setattr("pipeline.feed.feed._MOST_BLOCK_ROWS", 7)
    list(a_feed(Watched([[1]] * 80), objective=None))
    assert max(asked) == 8


# Damage.
