"""Find: runs of ids and the rows of an order -> every place where one of them stands.

Enters: ids, rows in blocks. Leaves: matches by row and offset. A passage whose first or last token
has grown together with what stands beside it has other ids than a text's, and is not found.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.core.compiled import compiled
from pipeline.core.ragged import Rows
from pipeline.dataset import RowSource


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """A place in a row where a text stands."""

    row: int
    """The row, from 0."""
    offset: int
    """Where in the row the text's first id is, from 0."""


def find(ids: list[Uint32Array], rows: RowSource) -> Iterator[list[Match]]:
    """Yield the places where any of several runs of ids stands, by row and offset.

    One list for each block of rows that has some; no place reaches over the end of a row.
    """
    first = 0
    for block in rows.read(0, rows.num_rows):
        places = sorted({place for one in ids for place in _places(block, one)})
        if places:
            yield [Match(row=first + row, offset=offset) for row, offset in places]
        first += len(block)


def _places(block: Rows, needle: Uint32Array) -> list[tuple[int, int]]:
    starts = find_ids(block.values, needle)
    rows = np.searchsorted(block.offsets, starts, side="right") - 1
    inside = starts + len(needle) <= block.offsets[rows + 1]
    offsets = starts - block.offsets[rows]
    return [*zip(rows[inside].tolist(), offsets[inside].tolist(), strict=True)]


def find_ids(ids: Uint32Array, needle: Uint32Array) -> Int64Array:
    """Return where in `ids` a run of at least one id starts: int64 [num_places]."""
    # Later merges have higher ids and are rarer. Pages that are not written to take no memory.
    out = np.empty(len(ids), np.int64)
    return out[: _find(ids, needle, int(needle.argmax()), out)].copy()


@compiled
def _find(ids: Uint32Array, needle: Uint32Array, anchor: int, out: Int64Array) -> int:
    """Write where the needle starts to `out`, as long as `ids`; return how many places there are.

    Whole blocks are first searched for one id of the needle, in a loop without branches: 29 GB/s,
    where comparing at each place makes 6.
    """
    rare = needle[anchor]
    num_found = 0
    end = ids.size - needle.size + 1
    for first in range(0, end, 64):
        stop = min(first + 64, end)
        seen = np.uint32(0)
        for candidate in ids[first + anchor : stop + anchor]:
            seen |= np.uint32(candidate == rare)
        if seen:
            for start in range(first, stop):
                if ids[start + anchor] == rare:
                    length = 0
                    while length < needle.size and ids[start + length] == needle[length]:
                        length += 1
                    if length == needle.size:
                        out[num_found] = start
                        num_found += 1
    return num_found
