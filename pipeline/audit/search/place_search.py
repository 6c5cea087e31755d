"""Place search: a run of tokens -> the places of a section where it is.

Loops over arrays that may be mapped files. No run has a 0, so none goes past the end of a row.
"""

import numpy as np

from pipeline.audit.search.place_sort import Tokens
from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.core.compiled import compiled

_BIN_BITS = 12


@compiled
def find_range(
    tokens: Tokens, places: Uint32Array, start: int, stop: int, run: Uint32Array
) -> tuple[int, int]:
    """Return the range of sorted places where a run of at most `DEPTH` tokens is.

    start, stop: the range of its first token.
    """
    bounds = (start, start)
    for is_last in (False, True):
        low, high = bounds[0], stop
        while low < high:
            middle = (low + high) // 2
            place = places[middle]
            length = 1
            while length < run.size and tokens[place + length] == run[length]:
                length += 1
            # Of equal ones, the first is looked for, then the one behind the last.
            is_before = is_last if length == run.size else tokens[place + length] < run[length]
            if is_before:
                low = middle + 1
            else:
                high = middle
        bounds = (bounds[1], low) if is_last else (low, low)
    return bounds


@compiled
def check_places(
    tokens: Tokens, places: Uint32Array, shift: int, run: Uint32Array, out: Uint32Array
) -> int:
    """Count the places that are `shift` tokens behind the start of a run.

    Of the first of them, as many starts as `out` has room for are written there.
    """
    num_found = 0
    for place in places:
        if place >= shift:
            start = place - shift
            length = 0
            while length < run.size and tokens[start + length] == run[length]:
                length += 1
            if length == run.size:
                if num_found < out.size:
                    out[num_found] = start
                num_found += 1
    return num_found


@compiled
def scan_places(tokens: Tokens, run: Uint32Array, out: Uint32Array) -> None:
    """Fill `out` with the first places of a run, of which there are at least as many."""
    num_found = 0
    place = 0
    while num_found < out.size:
        length = 0
        while length < run.size and tokens[place + length] == run[length]:
            length += 1
        if length == run.size:
            out[num_found] = place
            num_found += 1
        place += 1


def count_between(places: Uint32Array, bounds: Int64Array) -> Int64Array:
    """Count places by where they are: int64 [num_bounds - 1].

    bounds: int64 [num_bounds], rising, of which the first is at most each place, and the last more.
    """
    blocks = np.arange((int(bounds[-1]) >> _BIN_BITS) + 1, dtype=np.int64) << _BIN_BITS
    first_bins = np.maximum(np.searchsorted(bounds, blocks, side="right") - 1, 0)
    counts = np.zeros(len(bounds) - 1, np.int64)
    _count_between(places, bounds, first_bins, counts)
    return counts


@compiled
def _count_between(
    places: Uint32Array, bounds: Int64Array, first_bins: Int64Array, counts: Int64Array
) -> None:
    for place in places:
        bin_ = first_bins[np.int64(place) >> _BIN_BITS]
        while np.int64(place) >= bounds[bin_ + 1]:
            bin_ += 1
        counts[bin_] += 1
