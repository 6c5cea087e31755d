"""Section: consecutive rows of an order, as arrays in which any run of ids is found at once."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.audit.search.place_search import (
    check_places,
    count_between,
    find_range,
    scan_places,
)
from pipeline.audit.search.place_sort import DEPTH, Tokens, count_tokens, sort_places
from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.core.compiled import compiled
from pipeline.core.ragged import Rows, offsets_of

ARRAYS: Final = ("ids", "starts", "row_starts", "tokens", "places")
# A table from ids takes at most 64 MiB; ids above are looked up.
_MOST_IDS_IN_TABLE = 1 << 24
# So many places are sorted before a scan is faster, and so few are checked before any other run of
# `DEPTH` tokens is looked for.
_FEW_TO_SORT, _FEW_TO_CHECK, _MOST_RUNS = 1 << 14, 64, 16


@dataclass(frozen=True, kw_only=True)
class Section:
    """The arrays of some rows, in which they are counted from 0; mapped where they are files."""

    ids: Uint32Array
    """uint32 [num_ids], the distinct ids, rising; the token of the first is 1."""
    starts: Uint32Array
    """uint32 [num_ids + 1], where in `places` those of each token begin."""
    row_starts: Uint32Array
    """uint32 [num_rows + 1], where in `tokens` each row begins."""
    tokens: Tokens
    """uint16, or uint32 of more than 65,535 ids: the tokens of the rows, a 0 behind each."""
    places: Uint32Array
    """uint32 [num_tokens], all places but those of zeros, sorted by `DEPTH` tokens."""

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> "Section":
        return cls(**{name: np.asarray(arrays[name]) for name in ARRAYS})

    def runs(self, patterns: Iterable[Uint32Array]) -> list[Uint32Array]:
        """Return patterns of ids as runs of tokens, without those of which an id is nowhere."""
        found = []
        for pattern in patterns:
            indices = np.searchsorted(self.ids, pattern)
            is_there = indices < len(self.ids)
            if is_there.all() and np.array_equal(self.ids[indices], pattern):
                found.append((indices + 1).astype(np.uint32))
        return found

    def locate(self, runs: list[Uint32Array], most: int) -> tuple[int, Uint32Array]:
        """Return how often runs of tokens are there, and the first places: uint32, rising."""
        located = [self._locate(run, most) for run in runs]
        places = [np.empty(0, np.uint32), *(one for _, one in located)]
        return sum(count for count, _ in located), np.sort(np.concatenate(places))[:most]

    def count_between(self, runs: list[Uint32Array], rows: Int64Array) -> Int64Array:
        """Count runs of tokens by row: int64 [num_bounds - 1]; rows: rising bounds."""
        bounds = self.row_starts[rows].astype(np.int64)
        counts = np.zeros(len(rows) - 1, np.int64)
        for run in runs:
            shift, start, stop = self._narrow(run)
            places = self.places[start:stop]
            if len(run) > DEPTH:
                places = self._checked(run, shift, places, len(places))[1]
            counts += count_between(places, bounds)
        return counts

    def rows_of(self, places: Uint32Array) -> tuple[Int64Array, Int64Array]:
        """Return the row of each place and its offset there: int64 [num_places] both."""
        rows = np.searchsorted(self.row_starts, places, side="right") - 1
        return rows, places.astype(np.int64) - self.row_starts[rows]

    def _locate(self, run: Uint32Array, most: int) -> tuple[int, Uint32Array]:
        shift, start, stop = self._narrow(run)
        places = self.places[start:stop]
        if len(run) > DEPTH:
            return self._checked(run, shift, places, most)
        if len(run) == DEPTH:
            return len(places), places[:most]
        if len(places) <= max(most, _FEW_TO_SORT):
            return len(places), np.sort(places)[:most]
        first = np.empty(most, np.uint32)
        scan_places(self.tokens, run, first)
        return len(places), first

    def _checked(
        self, run: Uint32Array, shift: int, places: Uint32Array, most: int
    ) -> tuple[int, Uint32Array]:
        first = np.empty(min(most, len(places)), np.uint32)
        count = check_places(self.tokens, places, shift, run, first)
        return count, first[:count]

    def _narrow(self, run: Uint32Array) -> tuple[int, int, int]:
        """Return a short range of places at which tokens of the run are, and how far behind."""
        starts, stops = self.starts[run - 1], self.starts[run]
        num_shifts = max(len(run) - DEPTH + 1, 1)
        sizes = (stops - starts)[:num_shifts]
        best = (0, 0, len(self.places))
        for shift in np.argsort(sizes, kind="stable")[:_MOST_RUNS].tolist():
            start, stop = find_range(
                self.tokens,
                self.places,
                int(starts[shift]),
                int(stops[shift]),
                run[shift : shift + DEPTH],
            )
            if stop - start <= best[2] - best[1]:
                best = (shift, start, stop)
            if stop - start <= _FEW_TO_CHECK:
                break
        return best


def make_section(parts: list[Rows]) -> Section:
    """Return the section of some rows, whose list is emptied to free them early.

    It takes 12 bytes a token beside them, and places are as in `Section`. Pure.
    """
    ids = _distinct(parts)
    kind = np.uint16 if len(ids) <= np.iinfo(np.uint16).max else np.uint32
    num_rows = sum(map(len, parts))
    num_places = num_rows + sum(len(part.values) for part in parts)
    row_starts = offsets_of(np.concatenate([part.lengths() + 1 for part in parts]))
    tokens = np.zeros(num_places + DEPTH, kind)
    numbered = np.arange(1, len(ids) + 1).astype(kind)
    has_table = len(ids) > 0 and ids[-1] < _MOST_IDS_IN_TABLE
    table = _table(ids, numbered) if has_table else numbered
    start = 0
    for part in _emptied(parts):
        values = part.values if has_table else np.searchsorted(ids, part.values)
        start = _lay_out(values, part.offsets, table, tokens, start)
    counts = count_tokens(tokens[:num_places], len(ids) + 1)
    counts[0] = 0
    return Section(
        ids=ids,
        starts=np.cumsum(counts).astype(np.uint32),
        row_starts=row_starts.astype(np.uint32),
        tokens=tokens,
        places=sort_places(tokens, num_places, len(ids) + 1)[num_rows:],
    )


def _table(ids: Uint32Array, tokens: Tokens) -> Tokens:
    table = np.zeros(int(ids[-1]) + 1, tokens.dtype)
    table[ids] = tokens
    return table


def _emptied(parts: list[Rows]) -> Iterator[Rows]:
    parts.reverse()
    while parts:
        yield parts.pop()


def _distinct(parts: list[Rows]) -> Uint32Array:
    found = [np.empty(0, np.uint32), *(np.unique(part.values) for part in parts)]
    return np.unique(np.concatenate(found))


@compiled
def _lay_out(
    values: NDArray[Any], offsets: Int64Array, table: Tokens, out: Tokens, start: int
) -> int:
    """Write rows as tokens with a 0 behind each; return where they end."""
    for row in range(offsets.size - 1):
        for index in range(offsets[row], offsets[row + 1]):
            out[start] = table[values[index]]
            start += 1
        start += 1
    return start
