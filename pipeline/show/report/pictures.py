"""Pictures of an order as paths of SVG: the strip over its steps, and lengths of rows by source."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import Int64Array
from pipeline.show.strip import Strip

_WIDTH: Final = 900
_HEIGHTS: Final = {"shares": 220, "lengths": 80, "repeated": 48, "later": 48}
_BAR: Final = 4
_BAR_HEIGHT: Final = 22

Values = NDArray[np.floating[Any]] | Int64Array


def strip_pictures(strip: Strip, largest: Sequence[int]) -> list[dict[str, Any]]:
    """Return charts of one width over the steps of a strip, each of layers to be filled in turn.

    largest: places of the sources that have a layer of their own; all others are one. Shares of
    rows are drawn up to the largest, or to 1 % where none is above. Pure.
    """
    places = _WIDTH * strip.bounds / max(int(strip.bounds[-1]), 1)
    num_rows = np.maximum(strip.rows.sum(axis=1), 1)
    num_tokens = strip.tokens.sum(axis=1)
    longest = int(strip.longest.max(initial=1))
    means = num_tokens / num_rows
    charts = [
        _chart("shares", places, _stack(strip, largest), 1.0),
        _chart(
            "lengths",
            places,
            [("band", strip.longest, strip.shortest), ("mean", means, None)],
            longest,
        ),
    ]
    for name, counts in (("repeated", strip.repeated), ("later", strip.later)):
        shares = counts / num_rows
        top = max(float(shares.max(initial=0.0)), 0.01)
        charts.append(_chart(name, places, [("band", shares, np.zeros(len(shares)))], top))
    return charts


def _stack(strip: Strip, largest: Sequence[int]) -> list[tuple[str, Values, Values | None]]:
    """Return shares of sources on one another, as (class, upper edge, lower edge)."""
    num_tokens = np.maximum(strip.tokens.sum(axis=1), 1)
    below = np.zeros(len(num_tokens))
    layers: list[tuple[str, Values, Values | None]] = []
    for number, place in enumerate(largest, 1):
        above = below + strip.tokens[:, place] / num_tokens
        layers.append((f"source-{number}", above, below))
        below = above
    if len(largest) < strip.tokens.shape[1]:
        layers.append(("source-rest", np.ones(len(below)), below))
    return layers


def _chart(
    name: str,
    places: NDArray[np.float64],
    layers: Sequence[tuple[str, Values, Values | None]],
    top: float,
) -> dict[str, Any]:
    """Return a chart of stepped layers; one without a lower edge is a line."""
    height = _HEIGHTS[name]
    paths = []
    for class_, upper, lower in layers:
        path = "M" + _steps(places, height - upper * (height / top))
        if lower is not None:
            path += "L" + _steps(places[::-1], (height - lower * (height / top))[::-1]) + "Z"
        paths.append({"class": class_, "path": path, "is_line": lower is None})
    return {"name": name, "width": _WIDTH, "height": height, "top": top, "layers": paths}


def _steps(places: NDArray[np.float64], values: Values) -> str:
    """Return a path over values, each from one place to the next; equal ones are joined."""
    turns = np.flatnonzero(np.diff(values)).tolist()
    parts = [f"{places[0]:.1f},{values[0]:.1f}"]
    parts += [f"H{places[turn + 1]:.1f}V{values[turn + 1]:.1f}" for turn in turns]
    return "".join([*parts, f"H{places[-1]:.1f}"])


def ticks(parts: Sequence[float]) -> str:
    """Return a path of short lines up from the bottom of a chart, one to a unit. Pure.

    parts: their places, of the whole width.
    """
    return "".join(f"M{at},0v-6" for at in sorted({round(_WIDTH * part) for part in parts}))


def length_bars(lengths: Int64Array) -> list[dict[str, Any]]:
    """Return, of each source, its rows by length as bars, all over the same lengths. Pure.

    lengths: int64 [num_sources, len(LENGTHS)], numbers of rows.
    """
    used = np.flatnonzero(lengths.any(axis=0))
    first, stop = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
    bars = []
    for counts in lengths[:, first:stop]:
        heights = _BAR_HEIGHT * counts / max(int(counts.max()), 1)
        path = "".join(
            f"M{place * _BAR},{_BAR_HEIGHT}v{-max(height, 0.8):.1f}h{_BAR - 1}V{_BAR_HEIGHT}z"
            for place, height in enumerate(heights.tolist())
            if height
        )
        width = (stop - first) * _BAR
        bars.append({"path": path, "width": width, "height": _BAR_HEIGHT})
    return bars
