"""What share of the tokens a source has in some rows, if the order is random.

The rows of a column are then a sample without replacement of all N rows of the order. With x the
tokens of a row if it is of the source, else 0, and y its tokens, the share of n rows is the ratio
of the sums of x and y. To first order it is p + mean(d) / mean(y), with p the share in all rows and
d = x - p y, whose mean over all rows is 0. So its variance is

    (1 - n / N) / n * sum(d^2) / (N - 1) / mean(y)^2,

and as x y = x^2, sum(d^2) = (1 - 2 p) sum(x^2) + p^2 sum(y^2): sums that are known by source.

Source: W. G. Cochran, Sampling Techniques, third edition, section 2.11 (the ratio estimate).
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import Int64Array

# Of the standard normal distribution, 99 % lie within.
_WITHIN: Final = 2.5758293035489004

Float64Array = NDArray[np.float64]


class ExpectedShares(NamedTuple):
    """float64 [num_sources] each."""

    share: Float64Array
    low: Float64Array
    """99 % of all columns have a share from here."""
    high: Float64Array


def expected_shares(
    rows: Int64Array, tokens: Int64Array, squares: Int64Array, num_rows: int, num_all: int
) -> ExpectedShares:
    """Return the shares of sources in a column of `num_rows` rows of a random order. Pure.

    rows, tokens, squares: int64 [num_sources], of all rows of each source, or of a survey, their
    number, the sum of their lengths and that of the squares of these; num_all: rows of the order.
    """
    known, whole = int(rows.sum()), float(tokens.sum())
    if not known or not whole:
        none = np.zeros(len(rows))
        return ExpectedShares(none, none, none)
    num_rows = min(max(num_rows, 1), num_all)
    share = tokens / whole
    square = np.maximum((1 - 2 * share) * squares + share**2 * float(squares.sum()), 0)
    variance = (1 - num_rows / num_all) / num_rows * square / max(known - 1, 1)
    around = _WITHIN * np.sqrt(variance) / (whole / known)
    return ExpectedShares(share, np.maximum(share - around, 0.0), np.minimum(share + around, 1.0))


def folded(values: Int64Array, chosen: Int64Array) -> Int64Array:
    """Return values by source of the chosen sources, then the sum of all others if there are any.

    values: int64 [..., num_sources]; chosen: int64 [num_chosen].
    """
    if len(chosen) == values.shape[-1]:
        return values[..., chosen]
    kept = values[..., chosen]
    rest = values.sum(axis=-1) - kept.sum(axis=-1)
    return np.concatenate([kept, rest[..., None]], axis=-1)
