"""Blocks: rows that are read at once, and stand-ins for rows that cannot be read.

Enters: numbers of rows, rising. Leaves: the rows as they are stored, which of them stand in for
others, and their digests if asked for. Which rows are stood in for depends on the order alone:
neither on ranks, nor on micro-batches, nor on where reading began.
"""

import errno
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from pipeline.core.arrays import BoolArray, Int64Array, Uint8Array
from pipeline.core.errors import InputError, MismatchError, PipelineError
from pipeline.core.ragged import Rows
from pipeline.dataset import (
    DIGEST_BYTES,
    ROWS_PER_NODE,
    Order,
    join_rows,
    select_rows,
    take_with_digests,
)
from pipeline.feed.batch import OnDamage, SpecialIds
from pipeline.storage import MissingError


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StoredRows:
    """Rows that were read at once."""

    rows: Rows
    """The rows as they are stored; CLS, SEP where one stands in."""
    is_tombstone: BoolArray
    """bool [num_rows], True for those that stand in."""
    digests: Uint8Array
    """uint8 [num_rows, 32], zeros for those that stand in; [0, 32] if not asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UnreadableRows:
    """Rows that could not be read."""

    start: int
    """The first of them: of a node of the ledger."""
    stop: int
    """One past the last."""
    why: str
    """The error that reading them gave."""


@dataclass(kw_only=True)
class BlockReader:
    """Reads blocks of one order."""

    order: Order
    """The order."""
    special: SpecialIds
    """The ids that stand-ins are made of."""
    on_damage: OnDamage
    """Whether there are stand-ins."""
    with_digests: bool
    """Whether blocks have digests."""
    damages: list[UnreadableRows] = field(default_factory=list, init=False)
    """What could not be read so far."""
    _held: tuple[int, StoredRows | None] = field(default=(-1, None), init=False, repr=False)
    """The node that was read last; None if it could not be."""

    def __getstate__(self) -> dict[str, object]:
        # Rows that are held are not worth sending to another process.
        return {**self.__dict__, "_held": (-1, None)}

    def read(self, numbers: Int64Array) -> StoredRows:
        """Return rows by their numbers: int64 [num_rows], rising.

        With stand-ins nodes of 1,024 rows are read whole, also by a rank that has few rows of
        them: else it would depend on the ranks which rows are found to be damaged.

        Raises: InputError or MismatchError for rows that cannot be read, unless they are damaged
        and there are stand-ins. What `is_damage` says is none is an error all the same.
        """
        if not len(numbers):
            return self._stand_ins(0)
        if self.on_damage == "stop":
            return self._take(numbers)
        nodes = numbers // ROWS_PER_NODE
        parts = [self._part(node, numbers[nodes == node]) for node in np.unique(nodes).tolist()]
        if len(parts) == 1:
            return parts[0]
        return StoredRows(
            rows=join_rows([part.rows for part in parts]),
            is_tombstone=np.concatenate([part.is_tombstone for part in parts]),
            digests=np.concatenate([part.digests for part in parts]),
        )

    def _take(self, numbers: Int64Array) -> StoredRows:
        digests = np.empty((0, DIGEST_BYTES), np.uint8)
        if self.with_digests:
            rows, digests = take_with_digests(self.order.rows, numbers)
        else:
            rows = self.order.rows.take(numbers)
        return StoredRows(rows=rows, is_tombstone=np.zeros(len(numbers), np.bool_), digests=digests)

    def _part(self, node: int, numbers: Int64Array) -> StoredRows:
        """Return rows of one node."""
        if self._held[0] != node:
            self._held = node, self._read_node(node)
        whole = self._held[1]
        if whole is None:
            return self._stand_ins(len(numbers))
        within = numbers - node * ROWS_PER_NODE
        return StoredRows(
            rows=select_rows(whole.rows, within),
            is_tombstone=whole.is_tombstone[within],
            digests=whole.digests[within] if self.with_digests else whole.digests,
        )

    def _read_node(self, node: int) -> StoredRows | None:
        start = node * ROWS_PER_NODE
        stop = min(start + ROWS_PER_NODE, self.order.rows.num_rows)
        try:
            return self._take(np.arange(start, stop))
        except (InputError, MismatchError) as error:
            if not is_damage(error, is_remote="://" in self.order.where):
                raise
            if all(start != damage.start for damage in self.damages):
                self.damages.append(UnreadableRows(start=start, stop=stop, why=error.message))
            return None

    def _stand_ins(self, num_rows: int) -> StoredRows:
        pair = np.array([self.special.cls_id, self.special.sep_id], np.uint32)
        return StoredRows(
            rows=Rows(values=np.tile(pair, num_rows), offsets=np.arange(num_rows + 1) * 2),
            is_tombstone=np.ones(num_rows, np.bool_),
            digests=np.zeros((num_rows if self.with_digests else 0, DIGEST_BYTES), np.uint8),
        )


def is_damage(error: PipelineError, *, is_remote: bool) -> bool:
    """Tell whether an error says that rows are damaged or gone, for good.

    So are rows that are others than a ledger says, files that are no parquet, files that are gone;
    on disk also shards with bytes that are no rows, and what a disk cannot give back. Not so:
    whatever a network or a server may do better the next time, missing permission, want of memory
    or of open files.
    """
    cause: BaseException | None = error
    while isinstance(cause, PipelineError):
        if isinstance(cause, MismatchError | MissingError):
            return True
        cause = cause.__cause__
    if cause is None:
        # Bytes on disk that are no rows; or, of a remote file, what a server said.
        return not is_remote
    if isinstance(cause, OSError):
        # What pyarrow makes of bytes that are no parquet is an OSError, too, and has no number.
        is_arrow = type(cause) is OSError and cause.errno is None
        is_gone = isinstance(cause, FileNotFoundError)
        return is_arrow or is_gone or (cause.errno == errno.EIO and not is_remote)
    return isinstance(cause, pa.ArrowException) and not isinstance(cause, MemoryError)
