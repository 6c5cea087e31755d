"""A closer look: of a large order, the few rows between those that were read first.

Enters: what was read of theirs, and edits that lie between two rows of it. Leaves: the same with
the rows in between, where they are few, so that a single missing row is named, and not only the
rows that it is among.
"""

import numpy as np

from pipeline.audit.verify.comparison import Comparison
from pipeline.audit.verify.explain.known_rows import Reading, TheirRows, keys_of_rows
from pipeline.audit.verify.explain.order_search import Placed, positions_of
from pipeline.audit.verify.explain.pool_parts import Edit
from pipeline.core.arrays import Int64Array
from pipeline.dataset import RowSource

# Each may be a row group of its own, far away.
_MOST_ROWS = 64


def look_closer(
    theirs: RowSource,
    comparison: Comparison,
    reading: Reading,
    read: TheirRows,
    placed: Placed,
    edits: list[Edit],
) -> TheirRows:
    """Return what was read, and the rows of theirs within the edits that come first."""
    places: list[Int64Array] = []
    num_left = _MOST_ROWS
    for edit in edits:
        if edit.num_missing and 0 < edit.num_theirs <= num_left:
            places.append(np.arange(edit.place, edit.place + edit.num_theirs))
            num_left -= edit.num_theirs
    if not places:
        return read
    positions = _to_read(comparison, read, positions_of(placed.key, np.concatenate(places)))
    keys = [
        keys_of_rows(reading.narrowed(rows))
        for position in positions.tolist()
        for rows in theirs.read(position, position + 1)
    ]
    return read.with_rows(positions, np.concatenate([np.empty(0, np.uint64), *keys]))


def _to_read(comparison: Comparison, read: TheirRows, positions: Int64Array) -> Int64Array:
    """Return those that were compared, and not read before."""
    stop = min(comparison.stop, comparison.their_num_rows)
    compared = positions[(positions >= comparison.start) & (positions < stop)]
    return np.setdiff1d(compared, read.positions)
