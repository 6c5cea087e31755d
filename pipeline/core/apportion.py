"""Whole numbers in place of exact ones, by the method of the largest remainder."""

from collections.abc import Mapping
from fractions import Fraction


def largest_remainder(exact: Mapping[str, Fraction], total: int) -> dict[str, int]:
    """Return each number rounded down or up, so that they sum to `total`. Pure.

    The largest remainders are rounded up; of equal ones, those of the first names. `total` is at
    least the sum of the numbers rounded down, and at most their count above it.

    >>> largest_remainder({"a": Fraction(10, 3), "b": Fraction(10, 3), "c": Fraction(10, 3)}, 10)
    {'a': 4, 'b': 3, 'c': 3}
    """
    whole = {name: number.__floor__() for name, number in sorted(exact.items())}
    by_remainder = sorted(whole, key=lambda name: whole[name] - exact[name])
    for name in by_remainder[: total - sum(whole.values())]:
        whole[name] += 1
    return whole
