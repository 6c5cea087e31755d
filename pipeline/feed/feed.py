"""The feed: an order -> one rank's micro-batches, from any row, for any number of ranks.

A batch depends on the order and the numbers of its rows alone, so resuming anywhere gives the same
bytes as never stopping. The position of a feed is one row.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np

from pipeline.core.arrays import BoolArray, Int64Array
from pipeline.core.errors import InputError, MismatchError, NotFoundError
from pipeline.core.ragged import Rows
from pipeline.dataset import Order
from pipeline.feed.batch import Batch, Form, Inputs, Mlm, Objective, OnDamage
from pipeline.feed.blocks import Block, BlockReader, UnreadableRows
from pipeline.feed.layouts import flat_inputs, packed_inputs, padded_inputs, view_rows
from pipeline.feed.masks import IGNORED
from pipeline.feed.packing import PACKERS, Packed, Packing
from pipeline.feed.position import describe_position, row_of_position
from pipeline.feed.slices import MicroBatch, micro_batches, row_after
from pipeline.order import Schedule, View, num_rows_dropped
from pipeline.stages.tokenizer import SpecialIds

# Ids that are read at once and then cut into micro-batches; 4 MiB stay in the caches.
_BLOCK_IDS = 1 << 20
# Long rows may follow short ones: at 8,192 ids this many rows are 128 MiB.
_MOST_BLOCK_ROWS = 4096


@dataclass(kw_only=True)
class Feed:
    """One rank's part of an order; `make_feed` checks the arguments first."""

    order: Order
    schedule: Schedule
    micro_batch_rows: int
    """Rows of one rank's micro-batch, at least 1; the last of a step may have fewer."""
    rank: int = 0
    """From 0."""
    world_size: int = 1
    """Number of ranks, all with the same `micro_batch_rows`."""
    objective: Objective | None
    """What is predicted; None for stored rows without labels."""
    form: Form = "flat"
    max_seq_len: int
    """The most ids of a row that is fed."""
    special: SpecialIds
    on_damage: OnDamage = "stop"
    pad_to_multiple: int = 1
    """Pads a flat micro-batch to a multiple of so many ids."""
    packing: Packing | None = None
    """The packer of a micro-batch into bins of `max_seq_len` ids."""
    digests: bool = False
    """Whether batches include the digests of their rows."""
    row: int = 0
    """The position: the first row that no rank has been given yet."""
    num_tombstones: int = field(default=0, init=False)
    """Number of placeholders yielded so far."""
    _reader: BlockReader = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._reader = BlockReader(
            order=self.order,
            special=self.special,
            on_damage=self.on_damage,
            with_digests=self.digests,
        )

    @property
    def view(self) -> View:
        return view_of(self.objective)

    @property
    def num_steps(self) -> int:
        return self.schedule.num_steps(self.order.rows.num_rows)

    @property
    def num_rows(self) -> int:
        """Number of rows in whole steps."""
        return self.order.rows.num_rows - self.num_rows_dropped

    @property
    def num_rows_dropped(self) -> int:
        """Number of rows at the end that do not fill a step and are never fed."""
        return num_rows_dropped(self.schedule, self.order.rows.num_rows)

    @property
    def damages(self) -> list[UnreadableRows]:
        """The rows that this process has replaced by placeholders."""
        return self._reader.damages

    def __iter__(self) -> Iterator[Batch]:
        """Yield micro-batches and advance the position with each.

        Raises: InputError or MismatchError for unreadable rows; InputError for a row of another
        tokenizer, or for one that is too long under a view that does not cut.
        """
        for batch in self.batches():
            self.row = batch.next_row
            self.num_tombstones += len(batch.tombstones)
            yield batch

    def batches(self, worker: int = 0, num_workers: int = 1) -> Iterator[Batch]:
        """Yield every `num_workers`-th micro-batch from number `worker` on; the position stays."""
        micros = micro_batches(
            self.schedule,
            self.order.rows.num_rows,
            self.row,
            self.rank,
            self.world_size,
            self.micro_batch_rows,
        )
        return self._batches(islice(micros, worker, None, num_workers))

    def seek_step(self, step: int) -> None:
        """Seek the first row of a step. Raises: NotFoundError beyond the last."""
        self._check_exists("step", step, self.num_steps)
        self.row = self.schedule.rows(step)[0]

    def seek_row(self, row: int) -> None:
        """Seek a row. Raises: NotFoundError beyond the order."""
        self._check_exists("row", row, self.order.rows.num_rows)
        self.row = row

    def _check_exists(self, what: str, number: int, last: int) -> None:
        if not 0 <= number <= last:
            raise NotFoundError(
                f"{self.order.where}: got {what} {number:,}, expected one of 0 to {last:,}, the end"
                " of the order"
            )

    def position_after(self, num_batches: int, row: int | None = None) -> int:
        """Return the position so many micro-batches after `row`. Raises: NotFoundError."""
        return row_after(
            self.schedule,
            self.order.rows.num_rows,
            self.row if row is None else row,
            self.world_size,
            self.micro_batch_rows,
            num_batches,
        )

    def state_dict(self, *_ignored: object) -> dict[str, Any]:
        """Return the position for JSON, the same on every rank; arguments are ignored."""
        return describe_position(self.row, self.order.rows.num_rows, self.order.digest)

    def load_state_dict(self, state: object) -> None:
        """Seek the position of a state, from any rank, world size, micro-batch and schedule.

        Raises: MismatchError for a state of another order, InputError for a malformed one.
        """
        order = self.order
        self.row = row_of_position(state, order.rows.num_rows, order.digest, order.where)

    def _batches(self, micros: Iterator[MicroBatch]) -> Iterator[Batch]:
        for group, rows, cut, block in self._blocks(micros):
            stop = 0
            for micro in group:
                start, stop = stop, stop + len(micro.rows)
                if start < stop:
                    yield self._batch(micro, rows, cut, block, start, stop)
                else:
                    yield self._filler(micro)

    def _blocks(
        self, micros: Iterator[MicroBatch]
    ) -> Iterator[tuple[list[MicroBatch], Rows, Int64Array, Block]]:
        """Yield groups of micro-batches with their rows under the view, cut ids, and as read."""
        # The first is read by itself: it arrives soon, and its rows give the usual length.
        limit = 1
        while group := _take(micros, limit):
            try:
                rows, cut, block = self._read(group)
            except (InputError, MismatchError):
                if len(group) == 1:
                    raise
                # One by one, so that all batches before the faulty one are fed.
                yield from (([micro], *self._read([micro])) for micro in group)
            else:
                yield group, rows, cut, block
                limit = _BLOCK_IDS * len(rows) // max(len(rows.values), 1)
                limit = max(1, min(limit, _MOST_BLOCK_ROWS))

    def _read(self, group: list[MicroBatch]) -> tuple[Rows, Int64Array, Block]:
        numbers = np.concatenate([micro.rows for micro in group])
        block = self._reader.read(numbers)
        rows, cut = view_rows(block.rows, self.view, self.max_seq_len, self.special)
        lengths = rows.lengths()
        too_long = np.flatnonzero(lengths > self.max_seq_len)
        if len(too_long):
            number, num_ids = int(numbers[too_long[0]]), int(lengths[too_long[0]])
            raise InputError(
                f"{self.order.file_of(number)}: row {number:,}: got {num_ids:,} ids, expected"
                f" at most {self.max_seq_len:,}",
                "raise max_seq_len (--max-seq-len), or feed it with an objective (--objective),"
                " whose view cuts rows",
            )
        return rows, cut, block

    def _batch(
        self, micro: MicroBatch, rows: Rows, cut: Int64Array, block: Block, start: int, stop: int
    ) -> Batch:
        mine = rows.slice(start, stop)
        numbers, is_tombstone = micro.rows, block.is_tombstone[start:stop]
        digests = block.digests[start:stop] if self.digests else None
        packed = None
        if self.packing is not None:
            packed = PACKERS[self.packing](mine.lengths(), self.max_seq_len)
            order = packed.sequences
            mine, numbers, is_tombstone = mine.take(order), numbers[order], is_tombstone[order]
            digests = None if digests is None else digests[order]
        try:
            inputs = self._inputs(mine, numbers, is_tombstone, packed)
        except InputError as error:
            # Ids that the tokenizer does not have: name their file.
            foreign = int(np.argmax(mine.values >= self.special.vocab_size))
            row = int(numbers[np.searchsorted(mine.offsets, foreign, side="right") - 1])
            raise InputError(f"{self.order.file_of(row)}: {error.message}", error.hint) from error
        labels = inputs.get("labels")
        return Batch(
            inputs=inputs,
            step=micro.step,
            rows=numbers,
            next_row=micro.next_row,
            ends_step=micro.ends_step,
            num_tokens=int(mine.lengths()[~is_tombstone].sum()),
            num_tokens_cut=int(cut[start:stop].sum()),
            num_labels=0 if labels is None else int(np.count_nonzero(labels != IGNORED)),
            tombstones=np.sort(numbers[is_tombstone]),
            digests=digests,
        )

    def _filler(self, micro: MicroBatch) -> Batch:
        """Return a batch without rows for a rank that has none, so that ranks stay in step."""
        block = self._reader.placeholders(1)
        shown = replace(micro, rows=np.zeros(1, np.int64))
        none = np.empty(0, np.int64)
        batch = self._batch(shown, block.rows, none, block, 0, 1)
        digests = block.digests[:0] if self.digests else None
        return replace(batch, rows=none, tombstones=none, digests=digests)

    def _inputs(
        self, rows: Rows, numbers: Int64Array, is_tombstone: BoolArray, packed: Packed | None
    ) -> Inputs:
        shared = rows, numbers, is_tombstone, self.objective, self.special
        if packed is not None:
            return packed_inputs(*shared, packed)
        if self.form == "padded":
            return padded_inputs(*shared)
        return flat_inputs(*shared, pad_to_multiple=self.pad_to_multiple)


def view_of(objective: Objective | None) -> View:
    if objective is None:
        return "stored"
    return "encoder" if isinstance(objective, Mlm) else "decoder"


def _take(micros: Iterable[MicroBatch], num_rows: int) -> list[MicroBatch]:
    """Return the next micro-batches of about so many rows, at least one if any is left."""
    group, taken = [], 0
    for micro in micros:
        group.append(micro)
        taken += len(micro.rows)
        if taken >= num_rows:
            break
    return group
