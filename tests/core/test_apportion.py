"""Rounding by largest remainder sums exactly and moves no number by one."""

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.apportion import largest_remainder


def test_of_equal_remainders_the_first_names_are_rounded_up() -> None:
    halves = {name: Fraction(3, 2) for name in "dbca"}
    assert largest_remainder(halves, 6) == {"a": 2, "b": 2, "c": 1, "d": 1}


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=3), st.fractions(0, 10**9), min_size=1, max_size=9))
def test_the_sum_is_exact_and_each_number_is_next_to_its_own(exact: dict[str, Fraction]) -> None:
    total = round(sum(exact.values()))
    rounded = largest_remainder(exact, total)
    assert sum(rounded.values()) == total
    assert all(abs(rounded[name] - number) < 1 for name, number in exact.items())
