"""The whole order as a strip: columns of steps, each with what its rows are.

Counts are exact where the strip of the order is made, or few rows are asked for; else a row group
of provenance is read of each column, as many as there is time for.
"""

import time
from typing import Any

import numpy as np

from pipeline.core.arrays import Int64Array
from pipeline.core.errors import NotFoundError
from pipeline.show.commands import same_view
from pipeline.show.expected_share import expected_shares, folded
from pipeline.show.shown_order import Shown
from pipeline.show.strip import Strip, add_rows, empty_strip

_MOST_COLUMNS = 2000
_FEW_ROWS = 1 << 18
"""So many rows are counted at once, some 30 row groups."""
_SAMPLE_SECONDS = 0.06
_MOST_SOURCES = 64


def order_view(
    shown: Shown,
    first: int = 1,
    last: int | None = None,
    columns: int = 240,
    source: str | None = None,
) -> dict[str, Any]:
    """Return columns of the steps `first` to `last`, from 1; by default to the last one.

    source: one that is listed, even where there are too many to list all.

    Raises: NotFoundError for steps or a source that are not in the order, or without provenance.
    """
    positions = shown.need_positions()
    num_steps = len(positions.first_rows) - 1
    last = num_steps if last is None else last
    for step in (first, last):
        positions.step(step)
    if last < first:
        raise NotFoundError(f"steps {first} to {last}: got a range that ends before it begins")
    maker = shown.strip_maker
    maker.start()
    if shown.num_rows <= _FEW_ROWS:
        maker.wait()
    bounds = _bounds(first, last, min(max(columns, 1), _MOST_COLUMNS))
    strip, num_read = _counted(shown, bounds)
    chosen, names = _chosen(shown, source)
    num_rows = np.diff(positions.first_rows[strip.bounds])
    return {
        "first": first,
        "last": last,
        "shown": names,
        "columns": _columns(strip, folded(strip.tokens, chosen), folded(strip.rows, chosen),
                            num_rows, num_read),
        "is_sampled": bool((num_read < num_rows).any()),
        "exact_done": 1.0 if maker.strip is not None else maker.done,
        "exact_problem": None if maker.error is None else maker.error.message,
        "expected": _expected(shown, chosen, _usual(num_read)),
        "checkpoints": [
            {"name": name, "last_step": step}
            for name, step in shown.checkpoints()
            if first <= step <= last
        ],
        **same_view(
            shown, "order", {"first": first, "last": last, "columns": columns, "source": source}
        ),
    }  # fmt: skip


def _bounds(first: int, last: int, columns: int) -> Int64Array:
    """Return the first step of each column, from 0, and the end: int64 [num_columns + 1]."""
    num_steps = last - first + 1
    columns = min(columns, num_steps)
    return first - 1 + np.arange(columns + 1) * num_steps // columns


def _counted(shown: Shown, bounds: Int64Array) -> tuple[Strip, Int64Array]:
    """Return the counts of columns, and how many rows of each were counted."""
    made, first_rows = shown.strip_maker.strip, shown.need_positions().first_rows
    if made is not None:
        places = np.searchsorted(made.bounds, bounds)
        if np.array_equal(made.bounds[places], bounds):
            return made.joined(places), np.diff(first_rows[bounds])
    starts = first_rows[bounds]
    if starts[-1] - starts[0] <= _FEW_ROWS:
        strip = empty_strip(bounds, len(shown.sources))
        for group in shown.columns.groups(int(starts[0]), int(starts[-1])):
            add_rows(strip, group, starts)
        return strip, np.diff(starts)
    if made is not None:
        # Base columns are narrower than these, but end elsewhere.
        places = np.unique(np.searchsorted(made.bounds, bounds))
        if len(places) > 1:
            return made.joined(places), np.diff(first_rows[made.bounds[places]])
    return _sampled(shown, bounds, starts)


def _sampled(shown: Shown, bounds: Int64Array, starts: Int64Array) -> tuple[Strip, Int64Array]:
    """Count a row group of each column, of columns spread over the range while there is time."""
    strip = empty_strip(bounds, len(shown.sources))
    num_read = np.zeros(len(bounds) - 1, np.int64)
    stop = time.monotonic() + _SAMPLE_SECONDS
    for column in _spread(len(num_read)):
        start, end = int(starts[column]), int(starts[column + 1])
        is_late = time.monotonic() > stop
        group = shown.group_at((start + end) // 2, only_known=is_late)
        if group is not None:
            part = group.within(start, end)
            add_rows(strip, part, starts)
            num_read[column] = len(part)
    return strip, num_read


def _usual(num_read: Int64Array) -> int:
    """Return how many rows a column that was read has."""
    return int(np.median(num_read[num_read > 0])) if num_read.any() else 0


def _spread(number: int) -> list[int]:
    """Return 0 to number - 1 such that any first part lies all over the range."""
    bits = max(number - 1, 1).bit_length()
    turned = (int(f"{one:0{bits}b}"[::-1], 2) for one in range(1 << bits))
    return [one for one in turned if one < number]


def _chosen(shown: Shown, source: str | None) -> tuple[Int64Array, list[str]]:
    """Return the places of the sources that are listed, and names of what is counted."""
    sources = shown.sources
    if source is not None and source not in sources:
        raise NotFoundError(f"source {source!r}: is not in the order", "about lists all sources")
    if len(sources) <= _MOST_SOURCES:
        return np.arange(len(sources)), [*sources]
    tokens = _whole(shown)[1]
    chosen = np.sort(np.argsort(-tokens, kind="stable")[:_MOST_SOURCES])
    if source is not None:
        chosen = np.unique(np.append(chosen, sources.index(source)))
    names = [sources[place] for place in chosen.tolist()]
    return chosen, [*names, f"{len(sources) - len(names):,} other sources"]


def _whole(shown: Shown) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Return rows, tokens and squares by source of the whole order, or of a survey of it."""
    strip = shown.strip_maker.strip or shown.survey
    return strip.rows.sum(axis=0), strip.tokens.sum(axis=0), strip.squares


def _expected(shown: Shown, chosen: Int64Array, num_rows: int) -> list[dict[str, float]]:
    rows, tokens, squares = (folded(one, chosen) for one in _whole(shown))
    found = expected_shares(rows, tokens, squares, num_rows, shown.num_rows)
    return [
        {"share": share, "low": low, "high": high}
        for share, low, high in zip(*(one.tolist() for one in found), strict=True)
    ]


def _columns(
    strip: Strip, tokens: Int64Array, rows: Int64Array, num_rows: Int64Array, num_read: Int64Array
) -> list[dict[str, Any]]:
    is_exact = bool((num_read == num_rows).all()) and strip.has_repeats
    return [
        {
            "first_step": int(strip.bounds[column]) + 1,
            "last_step": int(strip.bounds[column + 1]),
            "num_rows": int(num_rows[column]),
            "rows_read": read,
            "tokens": tokens[column].tolist(),
            "rows": rows[column].tolist(),
            "repeated_rows": int(strip.repeated[column]) if is_exact else None,
            "later_chunks": int(strip.later[column]),
            "min_length": int(strip.shortest[column]) if read else None,
            "mean_length": int(strip.tokens[column].sum()) / read if read else None,
            "max_length": int(strip.longest[column]) if read else None,
        }
        for column, read in enumerate(num_read.tolist())
    ]
