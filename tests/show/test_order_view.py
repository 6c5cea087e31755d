"""The order view beyond plain counts: samples, many sources, ranges that are not there."""

import sys
import time
from pathlib import Path

import pytest
from support.traced import write_output

from pipeline.core.errors import NotFoundError
from pipeline.show import Shown, order_view
from pipeline.show.order_view import _spread

ROWS = [(source, document) for source in "ab" for document in "vwxyz"] * 6


@pytest.fixture
def sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shown:
    """An order whose strip is not made yet, and of which few rows are too many to count."""
    write_output(tmp_path / "out", ROWS)
    shown = Shown.open(tmp_path / "out")
    monkeypatch.setattr(sys.modules["pipeline.show.order_view"], "_FEW_ROWS", 4)
    monkeypatch.setattr(shown.strip_maker, "start", lambda: None)
    return shown


def test_where_it_is_not_counted_yet_a_row_group_of_each_column_is_read(sampled: Shown) -> None:
    answer = order_view(sampled, columns=6)
    # All rows are in one row group here, so that each column is read whole.
    assert [one["rows_read"] for one in answer["columns"]] == [10] * 6
    assert [one["repeated_rows"] for one in answer["columns"]] == [None] * 6
    assert answer["exact_done"] == 0
    sampled.strip_maker.make()
    exact = order_view(sampled, columns=6)
    assert exact["exact_done"] == 1
    same = [{**one, "repeated_rows": None} for one in exact["columns"]]
    assert answer["columns"] == same
    assert answer["expected"] == exact["expected"]


def test_without_time_columns_stay_empty_and_say_so(
    sampled: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic", iter(range(10**6)).__next__)
    answer = order_view(sampled, columns=6)
    assert answer["is_sampled"]
    read = [one["rows_read"] for one in answer["columns"]]
    assert 0 in read
    empty = answer["columns"][read.index(0)]
    assert (empty["min_length"], empty["mean_length"], empty["tokens"]) == (None, None, [0, 0])


def test_columns_are_read_all_over_the_range() -> None:
    for number in (1, 2, 3, 7, 240):
        assert sorted(_spread(number)) == [*range(number)]
    assert _spread(8) == [0, 4, 2, 6, 1, 5, 3, 7]


def test_of_many_sources_the_largest_are_listed_and_the_one_that_is_asked_for(
    tmp_path: Path,
) -> None:
    rows = [(f"s{number:03d}", "x") for number in range(100)]
    write_output(tmp_path, rows)
    shown = Shown.open(tmp_path)
    answer = order_view(shown, columns=2)
    # Rows grow longer by one token each.
    assert answer["shown"] == [*(f"s{number:03d}" for number in range(36, 100)), "36 other sources"]
    assert sum(answer["columns"][0]["tokens"]) == sum(range(10, 60))
    assert len(answer["expected"]) == len(answer["shown"])
    assert sum(one["share"] for one in answer["expected"]) == pytest.approx(1)
    asked = order_view(shown, columns=2, source="s003")
    assert asked["shown"][0] == "s003"
    assert asked["shown"][-1] == "35 other sources"
    with pytest.raises(NotFoundError, match="source 'nobody': is not in the order"):
        order_view(shown, source="nobody")


def test_steps_that_are_not_there_are_refused(shown: Shown) -> None:
    for first, last in ((0, 3), (1, 10**14), (10**14, 10**14)):
        with pytest.raises(NotFoundError, match="is not in the order, which has steps 1 to"):
            order_view(shown, first=first, last=last)
    with pytest.raises(NotFoundError, match="steps 3 to 2: got a range that ends before it begins"):
        order_view(shown, first=3, last=2)
    assert len(order_view(shown, columns=0)["columns"]) == 1


def test_checkpoints_of_the_range_are_listed(shown: Shown) -> None:
    every = [one["last_step"] for one in order_view(shown)["checkpoints"]]
    assert len(every) > 1
    part = order_view(shown, first=every[0] + 1, last=every[1])
    assert [one["last_step"] for one in part["checkpoints"]] == [every[1]]
    assert part["checkpoints"][0]["name"] == f"step{every[1]}"
