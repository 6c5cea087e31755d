"""Blocks: rows read some micro-batches ahead, and stand-ins for rows that cannot be read.

Enters: numbers of rows, rising. Leaves: the rows as they are stored, which of them stand in for
others, and their digests if asked for. Which rows are stood in for depends on the order alone:
neither on ranks, nor on micro-batches, nor on where reading began.
"""

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numba import njit

from pipeline.errors import InputError, MismatchError, PipelineError
from pipeline.feed.values import FeedRows, OnDamage, SpecialIds
from pipeline.ledger import DIGEST_BYTES, ROWS_PER_NODE, row_digests
from pipeline.records import BoolArray, Int64Array, Rows, Uint8Array, Uint32Array


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Block:
    """Rows that were read at once."""

    rows: Rows
    """The rows as they are stored; CLS, SEP where one stands in."""
    is_tombstone: BoolArray
    """bool [num_rows], True for those that stand in."""
    digests: Uint8Array | None
    """uint8 [num_rows, 32], if asked for; zeros for those that stand in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Damage:
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

    rows: FeedRows
    """The rows of the order."""
    special: SpecialIds
    """The ids that stand-ins are made of."""
    on_damage: OnDamage
    """Whether there are stand-ins."""
    with_digests: bool
    """Whether blocks have digests."""
    is_remote: bool
    """Whether a file that cannot be read may be read the next time."""
    damages: list[Damage] = field(default_factory=list, init=False)
    """What could not be read so far."""
    _node: tuple[int, Rows | None] = field(default=(-1, None), init=False, repr=False)
    """The node that was read last; None if it could not be."""

    def read(self, numbers: Int64Array) -> Block:
        """Return rows by their numbers: int64 [at least 1], rising.

        With stand-ins nodes of 1,024 rows are read whole, also by a rank that has few rows of
        them: else it would depend on the ranks which rows are found to be damaged.

        Raises: InputError or MismatchError for rows that cannot be read, unless they are damaged
        and there are stand-ins. What `is_damage` says is none is an error all the same.
        """
        if self.on_damage == "stop":
            rows = self.rows.take(numbers)
            is_tombstone = np.zeros(len(numbers), np.bool_)
        else:
            rows, is_tombstone = self._salvage(numbers)
        assert len(rows) == len(numbers)
        digests = None
        if self.with_digests:
            digests = row_digests(rows.ids, rows.offsets).reshape(-1, DIGEST_BYTES)
            digests[is_tombstone] = 0
        return Block(rows=rows, is_tombstone=is_tombstone, digests=digests)

    def _salvage(self, numbers: Int64Array) -> tuple[Rows, BoolArray]:
        parts, is_tombstone = [], np.zeros(len(numbers), np.bool_)
        for node, start, stop in _runs(numbers // ROWS_PER_NODE):
            rows = self._read_node(node)
            if rows is None:
                parts.append(self._stand_ins(stop - start))
                is_tombstone[start:stop] = True
            else:
                parts.append(_pick(rows, numbers[start:stop] - node * ROWS_PER_NODE))
        return _joined(parts), is_tombstone

    def _read_node(self, node: int) -> Rows | None:
        if node == self._node[0]:
            return self._node[1]
        start = node * ROWS_PER_NODE
        stop = min(start + ROWS_PER_NODE, self.rows.num_rows)
        rows = None
        try:
            rows = self.rows.take(np.arange(start, stop))
        except (InputError, MismatchError) as error:
            if not is_damage(error, is_remote=self.is_remote):
                raise
            if all(start != damage.start for damage in self.damages):
                self.damages.append(Damage(start=start, stop=stop, why=error.message))
        self._node = node, rows
        return rows

    def _stand_ins(self, num_rows: int) -> Rows:
        pair = np.array([self.special.cls_id, self.special.sep_id], np.uint32)
        return Rows(ids=np.tile(pair, num_rows), offsets=np.arange(num_rows + 1) * 2)


def is_damage(error: PipelineError, *, is_remote: bool) -> bool:
    """Tell whether an error says that rows are damaged or gone, for good.

    So are rows that are others than a ledger says, files with bytes that nobody can make rows of,
    files that are gone, and those that a disk cannot give back. Not so: whatever a network or a
    server may do better the next time, missing permission, want of memory or of file handles.
    """
    if isinstance(error, MismatchError):
        return True
    causes = list(_causes(error))
    # Without a cause it is of bytes on disk that are no rows; or what a server said.
    return all(_is_lost(cause, is_remote) for cause in causes) and bool(causes or not is_remote)


def _causes(error: BaseException) -> Iterator[BaseException]:
    while error.__cause__ is not None:
        error = error.__cause__
        yield error


def _is_lost(cause: BaseException, is_remote: bool) -> bool:
    if isinstance(cause, OSError):
        # What pyarrow makes of bytes that are no parquet is an OSError, too, and has no number.
        is_arrow = type(cause) is OSError and cause.errno is None
        is_gone = cause.errno == errno.ENOENT
        return is_arrow or is_gone or (cause.errno == errno.EIO and not is_remote)
    return isinstance(cause, ValueError | NotImplementedError | MismatchError)


def _runs(values: Int64Array) -> Iterator[tuple[int, int, int]]:
    """Yield (value, start, stop) of each run of equal values."""
    starts = np.flatnonzero(np.diff(values, prepend=-1))
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(values)], strict=True):
        yield int(values[start]), start, stop


def _joined(parts: list[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    return Rows(ids=np.concatenate([part.ids for part in parts]), offsets=_offsets(lengths))


def _pick(rows: Rows, picked: Int64Array) -> Rows:
    """Return some of the rows, by their places among them, rising."""
    if len(picked) == len(rows):
        return rows
    offsets = _offsets(np.diff(rows.offsets)[picked])
    ids = np.empty(int(offsets[-1]), np.uint32)
    _copy(rows.ids, rows.offsets[picked], offsets, ids)
    return Rows(ids=ids, offsets=offsets)


def _offsets(lengths: Int64Array) -> Int64Array:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


@njit(cache=True, nogil=True)
def _copy(source: Uint32Array, starts: Int64Array, offsets: Int64Array, out: Uint32Array) -> None:
    for row in range(starts.size):
        length = offsets[row + 1] - offsets[row]
        out[offsets[row] : offsets[row + 1]] = source[starts[row] : starts[row] + length]
