"""`window-best-fit-v1`: best fit decreasing within fixed windows of rows; our own rule.

Enters: the lengths of the rows of one window. Leaves: its bins. A packed batch is the bins of one
window, so any batch is found from its own rows, without those before it. No row is left over.

The rule is written down in `docs/spec/packing.md`. All compiled functions that call one another
are in this file: numba's cache on disk notices a change of the file that a function is in, and not
of one that it calls.
"""

import numpy as np
from numba import njit

from pipeline.core.arrays import BoolArray, Int64Array
from pipeline.core.errors import ConfigError, InputError, NotFoundError
from pipeline.feed.packing.bins import Packed


def num_windows(num_rows: int, window_rows: int) -> int:
    """Return how many windows an order has; the last may have fewer rows than the others."""
    if window_rows < 1:
        raise ConfigError(f"packing: got window_rows {window_rows}, expected 1 or more")
    return -(-num_rows // window_rows)


def window_range(window: int, num_rows: int, window_rows: int) -> tuple[int, int]:
    """Return the rows of a window, `[start, stop)`.

    Raises: NotFoundError where the order has no such window.
    """
    count = num_windows(num_rows, window_rows)
    if not 0 <= window < count:
        raise NotFoundError(f"packing: got batch {window}, expected one of {count}, from 0")
    return window * window_rows, min((window + 1) * window_rows, num_rows)


def pack_window(lengths: Int64Array, capacity: int) -> Packed:
    """Pack the rows of one window; sequences are numbered within it. Pure.

    Rows go from the longest to the shortest, of equals the first one first, each into the bin with
    the least room that holds it, of equals the lowest; where none does, into a new bin.
    lengths: int64 [num_rows].

    Raises: InputError for a row without ids, or of more than `capacity`.
    """
    bad = np.flatnonzero((lengths < 1) | (lengths > capacity))
    if len(bad):
        raise InputError(
            f"packing: row {bad[0]} of its window: got {lengths[bad[0]]} ids, expected 1 to "
            f"{capacity}",
            "a bin must hold the longest row: raise the length of a bin, or cut the rows before",
        )
    order = np.argsort(-lengths, kind="stable")
    bins = np.empty(len(order), np.int64)
    _best_fit(lengths[order], capacity, bins)
    return Packed.from_bins(order, lengths[order], bins, capacity)


@njit(cache=True, nogil=True)
def _best_fit(lengths: Int64Array, capacity: int, bins: Int64Array) -> None:
    """Give each sequence, in turn, its bin.

    For each amount of room, the bins that have it are a heap with the lowest on top; `is_some` says
    which amounts have any. So a sequence costs the logarithms of capacity and number of bins.
    """
    num_leaves = 1
    while num_leaves <= capacity:
        num_leaves *= 2
    is_some = np.zeros(2 * num_leaves, np.bool_)
    tops = np.full(capacity + 1, -1, np.int64)
    left = np.full(lengths.size, -1, np.int64)
    right = np.full(lengths.size, -1, np.int64)
    num_bins = 0
    for sequence in range(lengths.size):
        space = _least_from(is_some, lengths[sequence])
        if space < 0:
            space, bin_ = capacity, num_bins
            num_bins += 1
        else:
            bin_ = tops[space]
            tops[space] = _merge(left, right, left[bin_], right[bin_])
            left[bin_] = right[bin_] = -1
            if tops[space] < 0:
                _set(is_some, space, False)
        bins[sequence] = bin_
        space -= lengths[sequence]
        if tops[space] < 0:
            _set(is_some, space, True)
        tops[space] = _merge(left, right, tops[space], bin_)


@njit(cache=True, nogil=True)
def _merge(left: Int64Array, right: Int64Array, one: int, other: int) -> int:
    """Join two heaps, given by their tops or -1; return the top of both.

    Source: Sleator and Tarjan, "Self-adjusting heaps", SIAM J. Comput. 15, 1986, skew heaps.
    """
    if one < 0 or (0 <= other < one):
        one, other = other, one
    top = one
    while other >= 0:
        # The children of the lower change sides; what was on its right is joined with the other.
        rest = right[one]
        right[one] = left[one]
        if rest < 0 or other < rest:
            rest, other = other, rest
        left[one] = rest
        one = rest
    return top


@njit(cache=True, nogil=True)
def _set(is_some: BoolArray, leaf: int, value: bool) -> None:
    """Set a leaf of a tree in which a node is true where any below it is."""
    node = is_some.size // 2 + leaf
    is_some[node] = value
    while node > 1:
        node //= 2
        is_some[node] = is_some[2 * node] or is_some[2 * node + 1]


@njit(cache=True, nogil=True)
def _least_from(is_some: BoolArray, leaf: int) -> int:
    """Return the first leaf at or after `leaf` that is true, or -1."""
    num_leaves = is_some.size // 2
    node = num_leaves + leaf
    # Up, until the node or one to the right of the way has something.
    while not is_some[node]:
        while node % 2 == 1:
            if node == 1:
                return -1
            node //= 2
        node += 1
    while node < num_leaves:
        node = 2 * node if is_some[2 * node] else 2 * node + 1
    return node - num_leaves
