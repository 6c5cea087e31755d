"""Intervals of means.

Source: the percentile bootstrap, B. Efron and R. Tibshirani, An Introduction to the Bootstrap,
section 13.3.
"""

from typing import Any, Final

import numpy as np

from pipeline.core import seeds

_NUM_RESAMPLES: Final = 2000


def interval(values: Any, name: str) -> dict[str, float | None]:
    """Return the mean of values under a name, and `low` and `high` of its 95 % interval. Pure.

    values: float64 [num_values]; None of fewer than two.
    """
    number = len(values)
    if number < 2:
        return {name: None, "low": None, "high": None}
    key = seeds.derive_key(0, "bootstrap")
    drawn = seeds.random_numbers(key, number * _NUM_RESAMPLES) % np.uint64(number)
    means = values[drawn.astype(np.int64)].reshape(_NUM_RESAMPLES, number).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975]).tolist()
    return {name: float(values.mean()), "low": low, "high": high}
