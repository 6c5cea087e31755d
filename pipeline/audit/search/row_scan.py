"""Row scan: runs of ids -> what an index would find of them, by reading every row."""

from collections.abc import Iterator

import numpy as np

from pipeline.audit.search.found import Found
from pipeline.audit.trace.text_search import Match, find
from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.dataset import RowSource

_ROWS_AT_ONCE = 1 << 14


def scan(patterns: list[Uint32Array], rows: RowSource, first: int = 50) -> Iterator[Found]:
    """Yield what is found so far, after every 16,384 rows; the last one is of all rows.

    Raises: as `RowSource.read`.
    """
    matches: list[Match] = []
    counts: list[int] = []
    stops = [*range(_ROWS_AT_ONCE, rows.num_rows, _ROWS_AT_ONCE), rows.num_rows]
    for number, stop in enumerate(stops):
        start = stops[number - 1] if number else 0
        counts.append(0)
        for block in find(patterns, rows, start, stop):
            counts[-1] += len(block)
            matches += block[: first - len(matches)]
        yield Found(
            count=sum(counts),
            rows=_int64([match.row for match in matches]),
            offsets=_int64([match.offset for match in matches]),
            bounds=_int64([0, *stops[: number + 1]]),
            counts=_int64(counts),
            num_rows=rows.num_rows,
        )


def _int64(values: list[int]) -> Int64Array:
    return np.array(values, np.int64)
