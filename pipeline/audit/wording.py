"""Wording: what the reports of this room say in the same way."""

from collections.abc import Sequence


def listed(items: Sequence[object], most: int, rest: str = "") -> str:
    """Return the first items as a list, and the number of all others: `a, b and 3 more`."""
    shown = ", ".join(f"{one:,}" if isinstance(one, int) else str(one) for one in items[:most])
    more = len(items) - most
    return f"{shown} and {more:,} more{rest}" if more > 0 else shown
