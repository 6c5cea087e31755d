"""A value is made ahead once, and what is not wanted is discarded."""

import threading

import pytest

from pipeline.core.prefetch import Prefetcher


def test_what_was_made_is_taken() -> None:
    discarded: list[int] = []
    ahead = Prefetcher(lambda: 7, discarded.append)
    assert ahead.is_here
    assert ahead.take() == 7
    ahead.drop()
    assert discarded == []


def test_an_error_is_raised_where_the_value_is_taken() -> None:
    def fail() -> int:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        Prefetcher(fail, lambda made: None).take()


@pytest.mark.parametrize("is_made_before", [True, False])
def test_what_is_dropped_is_discarded_whenever_it_is_made(is_made_before: bool) -> None:
    go_on, was_discarded = threading.Event(), threading.Event()

    def make() -> int:
        assert go_on.wait(30)
        return 7

    ahead = Prefetcher(make, lambda made: was_discarded.set())
    if is_made_before:
        go_on.set()
        ahead.drop()
    else:
        ahead.drop()
        assert not was_discarded.is_set()
        go_on.set()
    assert was_discarded.wait(30)
