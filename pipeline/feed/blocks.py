"""Blocks of rows that are read at once, with placeholders for rows that cannot be read.

Which rows become placeholders depends on the order alone: neither on ranks and micro-batches, nor
on where reading began.
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
from pipeline.feed.batch import OnDamage
from pipeline.stages.tokenizer import SpecialIds
from pipeline.storage import MissingError


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Block:
    """Rows that were read at once."""

    rows: Rows
    """The rows as stored; a placeholder is CLS, SEP."""
    is_tombstone: BoolArray
    """bool [num_rows], True for placeholders."""
    digests: Uint8Array
    """uint8 [num_rows, 32], zeros for placeholders; [0, 32] if not requested."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UnreadableRows:
    """Rows that could not be read."""

    start: int
    """The first of them, where a node of the ledger starts."""
    stop: int
    why: str
    """The error message."""


@dataclass(kw_only=True)
class BlockReader:
    """Reads blocks of one order."""

    order: Order
    special: SpecialIds
    on_damage: OnDamage
    with_digests: bool
    damages: list[UnreadableRows] = field(default_factory=list, init=False)
    _held: tuple[int, Block | None] = field(default=(-1, None), init=False, repr=False)
    """The last node and its rows; None if it is damaged."""

    def __getstate__(self) -> dict[str, object]:
        # Held rows are not worth sending to another process.
        return {**self.__dict__, "_held": (-1, None)}

    def read(self, numbers: Int64Array) -> Block:
        """Return rows by number: int64 [num_rows], rising.

        With placeholders, nodes of 1,024 rows are read whole even by a rank that needs few of their
        rows: otherwise the ranks would decide which rows are found damaged.

        Raises: InputError or MismatchError for rows that cannot be read, except for damage that
        placeholders replace.
        """
        if not len(numbers):
            return self.placeholders(0)
        if self.on_damage == "stop":
            return self._take(numbers)
        nodes = numbers // ROWS_PER_NODE
        parts = [self._part(node, numbers[nodes == node]) for node in np.unique(nodes).tolist()]
        if len(parts) == 1:
            return parts[0]
        return Block(
            rows=join_rows([part.rows for part in parts]),
            is_tombstone=np.concatenate([part.is_tombstone for part in parts]),
            digests=np.concatenate([part.digests for part in parts]),
        )

    def _take(self, numbers: Int64Array) -> Block:
        if self.with_digests:
            rows, digests = take_with_digests(self.order.rows, numbers)
        else:
            rows, digests = self.order.rows.take(numbers), np.empty((0, DIGEST_BYTES), np.uint8)
        return Block(rows=rows, is_tombstone=np.zeros(len(numbers), np.bool_), digests=digests)

    def _part(self, node: int, numbers: Int64Array) -> Block:
        if self._held[0] != node:
            self._held = node, self._read_node(node)
        whole = self._held[1]
        if whole is None:
            return self.placeholders(len(numbers))
        within = numbers - node * ROWS_PER_NODE
        return Block(
            rows=select_rows(whole.rows, within),
            is_tombstone=whole.is_tombstone[within],
            digests=whole.digests[within] if self.with_digests else whole.digests,
        )

    def _read_node(self, node: int) -> Block | None:
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

    def placeholders(self, num_rows: int) -> Block:
        ids = np.tile(self.special.placeholder, num_rows)
        return Block(
            rows=Rows(values=ids, offsets=np.arange(num_rows + 1) * 2),
            is_tombstone=np.ones(num_rows, np.bool_),
            digests=np.zeros((num_rows if self.with_digests else 0, DIGEST_BYTES), np.uint8),
        )


def is_damage(error: PipelineError, *, is_remote: bool) -> bool:
    """Return whether an error means that rows are damaged or gone for good.

    Damage: rows that differ from the ledger, files that are not parquet, missing files; on disk
    also malformed shards and I/O errors. Not damage: whatever may succeed on retry, such as a
    network error, missing permission, or too little memory or too few file descriptors.
    """
    cause: BaseException | None = error
    while isinstance(cause, PipelineError):
        if isinstance(cause, MismatchError | MissingError):
            return True
        cause = cause.__cause__
    if cause is None:
        # Malformed bytes on disk; or, for a remote file, the answer of a server.
        return not is_remote
    if isinstance(cause, OSError):
        # pyarrow reports bytes that are not parquet as an OSError without errno.
        is_arrow = type(cause) is OSError and cause.errno is None
        is_gone = isinstance(cause, FileNotFoundError)
        return is_arrow or is_gone or (cause.errno == errno.EIO and not is_remote)
    return isinstance(cause, pa.ArrowException) and not isinstance(cause, MemoryError)
