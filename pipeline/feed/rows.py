"""Rows of an order by their numbers, wherever they lie: parquet, shards, or a pool and its order.

Enters: rising numbers. Leaves: the rows. Invariant: what is taken does not depend on what was taken
before; that decides only how long it takes. Of parquet one read is kept going, since a row costs
its row group; of shards any row costs the same.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from pipeline.core.arrays import Int64Array, Uint8Array, Uint32Array
from pipeline.core.compiled import compiled
from pipeline.core.errors import InputError, MismatchError, NotFoundError
from pipeline.core.prefetch import Prefetcher
from pipeline.core.ragged import Rows
from pipeline.dataset import ROWS_PER_NODE, Ledger, node_digest, row_digests
from pipeline.dataset.mds import Pool, join_rows
from pipeline.dataset.parquet import PublishedOrder
from pipeline.feed.batch import FeedRows
from pipeline.order import Permutation

# No sequence is as long.
_MOST_IDS = 1 << 26


class FiledRows(FeedRows, Protocol):
    """Rows that lie in files."""

    def file_of(self, row: int) -> str:
        """Return what the file of a row is called."""


class SequentialRows:
    """Rows of an order in parquet. One read is kept going; a jump begins another.

    Not for several threads at once; another process begins a read of its own.
    """

    def __init__(self, order: PublishedOrder) -> None:
        """Note where the rows are; nothing is read."""
        self.order = order
        self._ahead: Prefetcher[Rows] | None = None
        # Rows that could not be read, and why: a whole row group is lost where it is damaged.
        self._damage: tuple[int, int, InputError | MismatchError] | None = None
        self._reset(0)

    def __del__(self) -> None:
        self._drop_ahead()

    def __getstate__(self) -> dict[str, object]:
        return {"order": self.order}

    def __setstate__(self, state: dict[str, PublishedOrder]) -> None:
        self.__init__(state["order"])  # type: ignore[misc]

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return self.order.num_rows

    def file_of(self, row: int) -> str:
        """Return what the file of a row is called."""
        return self.order.file_of(row)

    def take(self, rows: Int64Array) -> Rows:
        """Return rows by their numbers: int64 [num_rows], rising.

        Raises: InputError for rows that cannot be read, MismatchError for those of a file that is
        another than a manifest says, NotFoundError for rows beyond the order.
        """
        check_there(rows, self.num_rows)
        self._check_damage(rows)
        parts: list[Rows] = []
        left = rows
        while len(left):
            part = self._take_run(left)
            parts.append(part)
            left = left[len(part) :]
        taken = parts[0] if len(parts) == 1 else join_rows(parts)
        return _check_lengths(taken, rows, self.file_of)

    def _take_run(self, rows: Int64Array) -> Rows:
        """Return the first of some rows, as many as one read gives without what nobody wants."""
        first = int(rows[0])
        if first < self._first or self.order.row_group_start(first) > self._stop:
            self._reset(first)
        while self._blocks and self._first + len(self._blocks[0]) <= first:
            self._first += len(self._blocks.popleft())
        while self._stop <= rows[-1]:
            num_had = int(np.searchsorted(rows, self._stop))
            # Row groups without a row that is wanted may be damaged, or far away.
            if num_had and self.order.row_group_start(int(rows[num_had])) > self._stop:
                return self._select(rows[:num_had])
            self._read_on(first)
        return self._select(rows)

    def _reset(self, row: int) -> None:
        self._drop_ahead()
        self._blocks: deque[Rows] = deque()
        # Rows `_first` to `_stop` are in the blocks.
        self._first = self._stop = row

    def _drop_ahead(self) -> None:
        # What another process began is not ours to end.
        if self._ahead is not None and self._ahead.is_here:
            self._ahead.drop()
        self._ahead = None

    def _read_on(self, wanted: int) -> None:
        """Read a block; keep it unless it ends before the first row that is wanted."""
        if self._ahead is None or not self._ahead.is_here:
            self._read = self.order.read(self._stop, self.num_rows)
            self._begin_next()
        assert self._ahead is not None
        try:
            block = self._ahead.take()
        except (InputError, MismatchError) as error:
            self._note_damage(error)
            self._reset(self._stop)
            raise
        self._stop += len(block)
        if self._stop <= wanted:
            self._first = self._stop
        else:
            self._blocks.append(block)
        if self._stop < self.num_rows:
            self._begin_next()

    def _begin_next(self) -> None:
        read = self._read
        self._ahead = Prefetcher(lambda: next(read), discard=lambda block: None)

    def _note_damage(self, error: InputError | MismatchError) -> None:
        # A file far away may be within reach the next time.
        if self.order.client is None:
            self._damage = (self._stop, self.order.row_group_stop(self._stop), error)

    def _check_damage(self, rows: Int64Array) -> None:
        """Refuse rows that are known to be lost, without reading up to them again."""
        if self._damage is not None:
            start, stop, error = self._damage
            if np.searchsorted(rows, start) < np.searchsorted(rows, stop):
                raise type(error)(error.message, error.hint) from error.__cause__

    def _select(self, rows: Int64Array) -> Rows:
        parts, first = [], self._first
        for block in self._blocks:
            start, stop = np.searchsorted(rows, (first, first + len(block)))
            if start < stop:
                parts.append(select_rows(block, rows[start:stop] - first))
            first += len(block)
        return parts[0] if len(parts) == 1 else join_rows(parts)


@dataclass(frozen=True, kw_only=True)
class ShardRows:
    """Rows of a pool, in the order of its index."""

    pool: Pool
    """The shards."""

    @property
    def num_rows(self) -> int:
        """How many rows there are, by the index."""
        return int(self.pool.ends[-1]) if len(self.pool.ends) else 0

    def file_of(self, row: int) -> str:
        """Return what the file of a row is called."""
        return self.pool.file_of(row)

    def take(self, rows: Int64Array) -> Rows:
        """Return rows by their numbers: int64 [num_rows].

        Raises: InputError for rows that cannot be read, NotFoundError for rows beyond the pool.
        """
        check_there(rows, self.num_rows)
        return self.pool.take(rows)


@dataclass(frozen=True, kw_only=True)
class OrderedPool:
    """Rows of a pool in an order of its own: row r is the sample at position r."""

    pool: Pool
    """The shards."""
    order: Permutation
    """An order of all its rows."""

    @property
    def num_rows(self) -> int:
        """How many rows there are, by the index."""
        return int(self.pool.ends[-1]) if len(self.pool.ends) else 0

    def file_of(self, row: int) -> str:
        """Return what the file of a row is called."""
        return self.pool.file_of(int(self.order.samples(row, row + 1)[0]))

    def take(self, rows: Int64Array) -> Rows:
        """Return rows by their numbers: int64 [num_rows].

        Raises: InputError for rows that cannot be read, NotFoundError for rows beyond the pool.
        """
        check_there(rows, self.num_rows)
        return self.pool.take(self.order.samples_at(rows))


@dataclass(kw_only=True)
class CheckedRows:
    """Rows that are compared with a ledger before they are handed out, a node at a time."""

    rows: FiledRows
    """What is checked."""
    ledger: Ledger
    """What it must be."""
    _nodes: dict[int, tuple[Rows, Uint8Array]] = field(default_factory=dict, init=False, repr=False)
    _others: set[int] = field(default_factory=set, init=False, repr=False)

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return self.rows.num_rows

    def file_of(self, row: int) -> str:
        """Return what the file of a row is called."""
        return self.rows.file_of(row)

    def take(self, rows: Int64Array) -> Rows:
        """Return rows by their numbers: int64 [num_rows], rising.

        Raises: MismatchError for rows that are others than the ledger says; else as what is
        checked.
        """
        return self.take_with_digests(rows)[0]

    def take_with_digests(self, rows: Int64Array) -> tuple[Rows, Uint8Array]:
        """Return rows and their digests: uint8 [num_rows, 32]. Raises: as `take`."""
        check_there(rows, self.num_rows)
        numbers = rows // ROWS_PER_NODE
        parts, digests = [], [np.empty((0, 32), np.uint8)]
        for node in np.unique(numbers).tolist():
            whole, found = self._node(node)
            within = rows[numbers == node] - node * ROWS_PER_NODE
            parts.append(select_rows(whole, within))
            digests.append(found[within])
        return (parts[0] if len(parts) == 1 else join_rows(parts)), np.concatenate(digests)

    def _node(self, node: int) -> tuple[Rows, Uint8Array]:
        if node not in self._nodes:
            # Micro-batches seldom end where nodes do, so that the last one is asked for again.
            while len(self._nodes) >= 2:
                del self._nodes[next(iter(self._nodes))]
            self._nodes[node] = self._read(node)
        return self._nodes[node]

    def _read(self, node: int) -> tuple[Rows, Uint8Array]:
        start = node * ROWS_PER_NODE
        stop = min(start + ROWS_PER_NODE, self.num_rows)
        if node not in self._others:
            whole = self.rows.take(np.arange(start, stop))
            digests = row_digests(whole.values, whole.offsets)
            if node_digest(digests) == self.ledger.nodes[node].tobytes():
                return whole, digests
            # Whoever asks for its rows one by one is not to wait for the whole each time.
            self._others.add(node)
        files = dict.fromkeys([self.rows.file_of(start), self.rows.file_of(stop - 1)])
        raise MismatchError(
            f"{' to '.join(files)}: rows {start:,} to {stop - 1:,} are not those of the ledger",
            "build or pull the file again; `ettin-data verify` names what differs",
        )


def take_with_digests(rows: FeedRows, numbers: Int64Array) -> tuple[Rows, Uint8Array]:
    """Return rows by their numbers, and their digests: uint8 [num_rows, 32]; none is hashed twice.

    Raises: as `FeedRows.take`.
    """
    if isinstance(rows, CheckedRows):
        return rows.take_with_digests(numbers)
    taken = rows.take(numbers)
    return taken, row_digests(taken.values, taken.offsets)


def check_there(rows: Int64Array, num_rows: int) -> None:
    """Check that rising numbers are of rows that there are. Raises: NotFoundError."""
    if len(rows) and not 0 <= rows[0] <= rows[-1] < num_rows:
        raise NotFoundError(
            f"got rows {int(rows[0]):,} to {int(rows[-1]):,}, expected rows within 0 to"
            f" {num_rows - 1:,}"
        )


def select_rows(rows: Rows, chosen: Int64Array) -> Rows:
    """Return some rows by their places, rising: int64 [num_chosen]; neighbours are not copied."""
    if not len(chosen):
        return join_rows([])
    first, last = int(chosen[0]), int(chosen[-1])
    if last - first + 1 == len(chosen):
        offsets = rows.offsets[first : last + 2]
        return Rows(values=rows.values[offsets[0] : offsets[-1]], offsets=offsets - offsets[0])
    starts, stops = rows.offsets[chosen], rows.offsets[chosen + 1]
    offsets = np.zeros(len(chosen) + 1, np.int64)
    np.cumsum(stops - starts, out=offsets[1:])
    ids = np.empty(int(offsets[-1]), np.uint32)
    _copy_runs(rows.values, starts, ids, offsets)
    return Rows(values=ids, offsets=offsets)


@compiled
def _copy_runs(ids: Uint32Array, starts: Int64Array, out: Uint32Array, offsets: Int64Array) -> None:
    for i in range(starts.size):
        length = offsets[i + 1] - offsets[i]
        source = ids[starts[i] : starts[i] + length]
        target = out[offsets[i] : offsets[i] + length]
        for j in range(length):
            target[j] = source[j]


def _check_lengths(taken: Rows, numbers: Int64Array, file_of: Callable[[int], str]) -> Rows:
    lengths = np.diff(taken.offsets)
    bad = np.flatnonzero((lengths == 0) | (lengths > _MOST_IDS))
    if len(bad):
        row = int(numbers[bad[0]])
        raise InputError(
            f"{file_of(row)}: row {row:,}: got {int(lengths[bad[0]]):,} ids, expected at least one"
            f" and at most {_MOST_IDS:,}",
            "pull the file again, or leave the row out where it was made",
        )
    return taken
