"""Searches: exactly the places of `trace --find`, so far or all, and how often over training."""

import json
import time
from pathlib import Path

import pytest
from support.builds import run_well

from pipeline.core.errors import ConfigError, NotFoundError
from pipeline.show import Shown, search_view


def whole(shown: Shown, text: str, first: int = 50) -> dict:
    """Ask until the scan is done."""
    answer = search_view(shown, text=text, first=first)
    stop = time.monotonic() + 300
    while answer["done"] < 1:
        assert time.monotonic() < stop
        answer = search_view(shown, text=text, first=first, job=answer["job"])
    return answer


@pytest.mark.parametrize("text", ["tide", "harbour", " the", "don't", "東京"])
def test_places_are_those_of_trace(shown: Shown, finished: Path, text: str) -> None:
    traced = json.loads(run_well("trace", finished, "--find", text, "--json"))
    assert traced
    answer = whole(shown, text)
    assert (answer["count"], answer["is_exact"]) == (len(traced), True)
    keys = ("row", "step", "offset", "source", "document")
    places = [tuple(one[key] for key in keys) for one in answer["rows"]]
    assert places == [tuple(one[key] for key in keys) for one in traced][:50]
    for one in answer["rows"]:
        assert one["match"].strip() == text.strip()
    assert sum(one["count"] for one in answer["over_time"]) == len(traced)
    for one in answer["over_time"]:
        within = [row for row in traced if one["first_step"] <= row["step"] <= one["last_step"]]
        assert one["count"] == len(within)
    assert shown.manifest is not None
    tokens = sum(one["num_tokens"] for one in answer["over_time"])
    assert tokens == shown.manifest.order.num_tokens


def test_few_places_are_listed_and_all_are_counted(shown: Shown) -> None:
    every, few = whole(shown, "tide", 1000), whole(shown, "tide", 2)
    assert few["rows"] == every["rows"][:2]
    assert few["count"] == every["count"] > len(every["rows"]) == 1000


def test_a_text_that_is_nowhere_is_no_error(shown: Shown) -> None:
    answer = whole(shown, "nobody wrote this sentence")
    assert (answer["count"], answer["rows"], answer["done"]) == (0, [], 1.0)


def test_a_scan_that_is_over_or_of_another_text_is_refused(shown: Shown) -> None:
    answer = whole(shown, "tide")
    with pytest.raises(NotFoundError, match="has ended, or is of another search"):
        search_view(shown, text="other", job=answer["job"])
    with pytest.raises(NotFoundError, match="has ended, or is of another search"):
        search_view(shown, text="tide", job="nobody")


def test_the_oldest_of_many_scans_ends(shown: Shown) -> None:
    jobs = [search_view(shown, text=f"tide {number}")["job"] for number in range(10)]
    assert [*shown.jobs] == jobs[2:]


def test_texts_without_tokens_or_too_long_are_refused(shown: Shown) -> None:
    with pytest.raises(ConfigError, match="got an empty text"):
        search_view(shown, text="")
    with pytest.raises(ConfigError, match="got 10,001 characters, expected at most 10,000"):
        search_view(shown, text="a" * 10_001)
