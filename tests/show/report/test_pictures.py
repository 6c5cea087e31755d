"""Pictures of a report: what their paths say is what was counted."""

import re
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.show.report.pictures import length_bars, strip_pictures
from pipeline.show.strip import LENGTHS, empty_strip

COUNTS = st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=9)


def edges(path: str) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Return the corners of the upper and the lower edge of a layer, left to right."""
    upper, lower = path.removeprefix("M").removesuffix("Z").split("L")
    return corners(upper), corners(lower)[::-1]


def corners(steps: str) -> list[tuple[float, float]]:
    x, y = map(float, re.match(r"([\d.]+),([\d.]+)", steps).groups())  # type: ignore[union-attr]
    found = [(x, y)]
    for name, value in re.findall(r"([HV])([\d.]+)", steps):
        x, y = (float(value), y) if name == "H" else (x, float(value))
        found.append((x, y))
    return found


def height_at(found: list[tuple[float, float]], x: float) -> float:
    """Return the height of a stepped edge at a place that is no corner."""
    return next(a[1] for a, b in pairwise(found) if a[0] < x < b[0])


@QUICK
@given(COUNTS, st.integers(0, 3))
def test_layers_of_the_strip_are_shares_on_one_another(tokens: list[list[int]], num: int) -> None:
    columns = len(tokens)
    strip = empty_strip(np.arange(columns + 1), 3)
    strip.tokens[:] = np.array(tokens) + np.array([1, 0, 0])
    strip.rows[:] = 1
    strip.shortest[:] = 1
    chart = strip_pictures(strip, [2, 0, 1][:num])[0]
    names = [layer["class"] for layer in chart["layers"]]
    assert names == [f"source-{one + 1}" for one in range(num)] + ["source-rest"] * (num < 3)
    for column in range(columns):
        middle = 900 * (column + 0.5) / columns
        sums = strip.tokens[column] / strip.tokens[column].sum()
        below = 0.0
        for place, layer in zip([2, 0, 1], chart["layers"], strict=False):
            upper, lower = edges(layer["path"])
            above = 1.0 if layer["class"] == "source-rest" else below + sums[place]
            assert abs(height_at(upper, middle) - 220 * (1 - above)) < 0.11
            assert abs(height_at(lower, middle) - 220 * (1 - below)) < 0.11
            below = above


@QUICK
@given(st.dictionaries(st.integers(0, len(LENGTHS) - 2), st.integers(1, 50), min_size=1))
def test_bars_are_as_high_as_their_rows(counts: dict[int, int]) -> None:
    lengths = np.zeros((2, len(LENGTHS)), np.int64)
    for place, number in counts.items():
        lengths[1, place] = number
    nothing, bars = length_bars(lengths)
    assert nothing["path"] == ""
    drawn = {
        int(x) // 4 + min(counts): float(height)
        for x, height in re.findall(r"M(\d+),22v-([\d.]+)h3V22z", bars["path"])
    }
    highest = max(counts.values())
    assert drawn.keys() == counts.keys()
    for place, number in counts.items():
        assert abs(drawn[place] - max(22 * number / highest, 0.8)) <= 0.051
    assert bars["width"] == nothing["width"] == 4 * (max(counts) - min(counts) + 1)
