"""The protocol of readers of rows: by range, in blocks that bound memory, or by number."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from pipeline.core.arrays import Int64Array, Uint8Array
from pipeline.core.errors import InputError, MismatchError, NotFoundError
from pipeline.core.ragged import Rows
from pipeline.dataset.blake3 import row_digests
from pipeline.dataset.ledger import ROWS_PER_NODE, Ledger, node_digest
from pipeline.dataset.shared_digests import SharedDigests


class RowSource(Protocol):
    """A sequence of rows that can be read in part."""

    @property
    def num_rows(self) -> int:
        """The number of rows."""

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        """Yield rows `start` to `stop`, in blocks that bound memory.

        Raises: NotFoundError for rows beyond the last; else as `RowReader.take`.
        """


class RowReader(RowSource, Protocol):
    """Rows in files; sequential access is the fastest."""

    def take(self, rows: Int64Array) -> Rows:
        """Return rows by number: int64 [num_rows], rising.

        Raises: NotFoundError for rows beyond the last, InputError for unreadable rows,
        MismatchError for rows that differ from a manifest.
        """

    def file_of(self, row: int) -> str:
        """Return the path or address of the file of a row."""


@dataclass(kw_only=True)
class CheckedRows:
    """Rows that are compared with a ledger as they are read, a node at a time."""

    rows: RowReader
    ledger: Ledger
    shared: SharedDigests | None = None
    """Of the ranks on this host, each of which takes some rows of a node."""
    _nodes: dict[int, tuple[Rows, Uint8Array]] = field(default_factory=dict, init=False, repr=False)
    _mismatches: set[int] = field(default_factory=set, init=False, repr=False)

    @property
    def num_rows(self) -> int:
        return self.rows.num_rows

    def file_of(self, row: int) -> str:
        return self.rows.file_of(row)

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        """Yield rows, a node at a time. Raises: as `take`."""
        for first in range(start, stop, ROWS_PER_NODE):
            yield self.take(np.arange(first, min(first + ROWS_PER_NODE, stop)))

    def take(self, rows: Int64Array) -> Rows:
        """Return rows by number. Raises: MismatchError for rows that differ from the ledger."""
        return self.take_with_digests(rows)[0]

    def take_with_digests(self, rows: Int64Array) -> tuple[Rows, Uint8Array]:
        """Return rows and their digests: uint8 [num_rows, 32]. Raises: as `take`."""
        check_numbers(rows, self.num_rows)
        numbers = rows // ROWS_PER_NODE
        left = {node: rows[numbers == node] for node in np.unique(numbers).tolist()}
        taken: dict[int, tuple[Rows, Uint8Array]] = {}
        # What another rank is reading is looked for again at the end.
        for waits in (False, True):
            for node in sorted(left.keys() - taken.keys()):
                part = self._take_of_node(node, left[node], waits=waits)
                if part is not None:
                    taken[node] = part
        parts = [taken[node] for node in left]
        digests = [np.empty((0, 32), np.uint8), *(part[1] for part in parts)]
        return join_rows([part[0] for part in parts]), np.concatenate(digests)

    def _take_of_node(
        self, node: int, rows: Int64Array, *, waits: bool
    ) -> tuple[Rows, Uint8Array] | None:
        """Return rows of one node, and their digests; None if another rank is reading it."""
        within = rows - node * ROWS_PER_NODE
        shared = self.shared
        if shared is not None and node not in self._nodes and node not in self._mismatches:
            if (own := self._take_own(rows, within, shared.load(node))) is not None:
                return own
            with shared.claim(node, waits=waits) as claimed:
                if not claimed:
                    return None
                if (own := self._take_own(rows, within, shared.load(node))) is not None:
                    return own
                shared.save(node, self._node(node)[1])
        whole, found = self._node(node)
        return select_rows(whole, within), found[within]

    def _take_own(
        self, rows: Int64Array, within: Int64Array, expected: Uint8Array | None
    ) -> tuple[Rows, Uint8Array] | None:
        """Return rows alone, if they have the digests of their node; None if not."""
        if expected is None:
            return None
        own = self.rows.take(rows)
        digests = row_digests(own.values, own.offsets)
        return (own, digests) if np.array_equal(digests, expected[within]) else None

    def _node(self, node: int) -> tuple[Rows, Uint8Array]:
        if node not in self._nodes:
            # Micro-batches seldom end with a node, so the last one is needed again.
            while len(self._nodes) >= 2:
                del self._nodes[next(iter(self._nodes))]
            self._nodes[node] = self._read(node)
        return self._nodes[node]

    def _read(self, node: int) -> tuple[Rows, Uint8Array]:
        start = node * ROWS_PER_NODE
        stop = min(start + ROWS_PER_NODE, self.num_rows)
        if node not in self._mismatches:
            whole = self.rows.take(np.arange(start, stop))
            digests = row_digests(whole.values, whole.offsets)
            if node_digest(digests) == self.ledger.nodes[node].tobytes():
                return whole, digests
            # A caller that asks row by row does not wait for the whole node each time.
            self._mismatches.add(node)
        # Without a copy of its own, an order has its rows all over a pool.
        files = [*dict.fromkeys(map(self.rows.file_of, range(start, stop)))]
        if len(files) > 2:
            files[1:] = [f"{len(files) - 1:,} more files"]
        raise MismatchError(
            f"{' and '.join(files)}: rows {start:,} to {stop - 1:,} are not those of the ledger",
            "build or pull the file again; `ettin-data verify` names what differs",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class MissingRows:
    """Rows that cannot be read, of which there is a manifest."""

    where: str
    num_rows: int
    got: str = "a manifest alone"
    hint: str = "name the folder or the address of the order"

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        raise self.error()

    def take(self, rows: Int64Array) -> Rows:
        raise self.error()

    def file_of(self, row: int) -> str:
        return self.where

    def error(self) -> InputError:
        return InputError(f"{self.where}: got {self.got}, expected the rows of an order", self.hint)


def take_with_digests(rows: RowReader, numbers: Int64Array) -> tuple[Rows, Uint8Array]:
    """Take rows and their digests: uint8 [num_rows, 32]. Raises: as `RowReader.take`."""
    if isinstance(rows, CheckedRows):
        return rows.take_with_digests(numbers)
    taken = rows.take(numbers)
    return taken, row_digests(taken.values, taken.offsets)


def check_numbers(rows: Int64Array, num_rows: int) -> None:
    """Check that rising numbers are within the rows. Raises: NotFoundError."""
    if len(rows) and not 0 <= rows[0] <= rows[-1] < num_rows:
        raise NotFoundError(
            f"got rows {int(rows[0]):,} to {int(rows[-1]):,}, expected rows within 0 to"
            f" {num_rows - 1:,}"
        )


def check_range(where: str, start: int, stop: int, num_rows: int) -> None:
    """Check that a range is within the rows. Raises: NotFoundError."""
    if not 0 <= start <= stop <= num_rows:
        raise NotFoundError(
            f"{where}: got rows {start} to {stop}, expected a range within 0 to {num_rows}"
        )


def join_rows(parts: list[Rows]) -> Rows:
    """Join consecutive rows, of any number of parts; a single part is not copied."""
    return Rows.concat(parts or [Rows(np.empty(0, np.uint32), np.zeros(1, np.int64))])


def select_rows(rows: Rows, chosen: Int64Array) -> Rows:
    """Return rows by index, rising: int64 [num_chosen]; consecutive ones are not copied."""
    if len(chosen) and chosen[-1] - chosen[0] + 1 == len(chosen):
        return rows.slice(int(chosen[0]), int(chosen[-1]) + 1)
    return rows.take(chosen)
