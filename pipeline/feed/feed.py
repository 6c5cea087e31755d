"""The feed: an order -> one rank's micro-batches, from any row, for any number of ranks.

Enters: an order, a schedule, what a model is to learn. Leaves: batches of arrays that are ready for
a model. What a batch holds follows from the order and the numbers of its rows alone, so to go on
anywhere is never to have stopped, to the byte. Where a feed stands is one row.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from pipeline.core.arrays import BoolArray, Int64Array
from pipeline.core.errors import InputError, MismatchError, NotFoundError
from pipeline.core.ragged import Rows
from pipeline.dataset import Order
from pipeline.feed.batch import Batch, Form, Inputs, Mlm, Objective, OnDamage, SpecialIds
from pipeline.feed.blocks import BlockReader, StoredRows, UnreadableRows
from pipeline.feed.layouts import flat_inputs, packed_inputs, padded_inputs, view_rows
from pipeline.feed.masks import IGNORED
from pipeline.feed.packing import PACKERS, Packed, Packing
from pipeline.feed.position import describe_position, row_of_position
from pipeline.feed.slices import MicroBatch, micro_batches, row_after
from pipeline.order import Schedule, View, num_rows_dropped

# Rows of so many ids are read at once and then cut into micro-batches; 4 MiB stay in the caches.
_BLOCK_IDS = 1 << 20
# Rows may turn long after short ones: at 8,192 ids these many are 128 MiB.
_MOST_BLOCK_ROWS = 4096


@dataclass(kw_only=True)
class Feed:
    """One rank's part of an order; `make_feed` checks what it is made of and makes it."""

    order: Order
    """The rows, and what is known of them."""
    schedule: Schedule
    """Which rows each step takes."""
    micro_batch_rows: int
    """Rows of a micro-batch of one rank, at least 1; the last of a step may have fewer."""
    rank: int = 0
    """Which rank it is for."""
    world_size: int = 1
    """How many ranks there are; all must have the same `micro_batch_rows`."""
    objective: Objective | None
    """What is predicted; None for no labels, and rows as they are stored."""
    form: Form = "flat"
    """How a micro-batch is laid out."""
    max_seq_len: int
    """No row that is fed has more ids."""
    special: SpecialIds
    """Ids of the tokenizer."""
    on_damage: OnDamage = "stop"
    """What becomes of rows that cannot be read."""
    pad_to_multiple: int = 1
    """A flat micro-batch is padded to a multiple of so many ids."""
    packing: Packing | None = None
    """What packs the rows of a micro-batch into bins of `max_seq_len` ids; None for no packing."""
    digests: bool = False
    """Whether batches have the digests of their rows."""
    row: int = 0
    """Where it stands: the first row that no rank has been given."""
    num_tombstones: int = field(default=0, init=False)
    """How many of the rows that it has handed out stand in for others."""
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
        """How rows are edited for the objective."""
        return view_of(self.objective)

    @property
    def num_steps(self) -> int:
        """How many whole steps there are."""
        return self.schedule.num_steps(self.order.rows.num_rows)

    @property
    def num_rows(self) -> int:
        """How many rows are in whole steps."""
        return self.order.rows.num_rows - self.num_rows_dropped

    @property
    def num_rows_dropped(self) -> int:
        """How many rows at the end are too few for a step, and never fed."""
        return num_rows_dropped(self.schedule, self.order.rows.num_rows)

    @property
    def damages(self) -> list[UnreadableRows]:
        """Which rows this process could not read so far, with `on_damage` "tombstone"."""
        return self._reader.damages

    def __iter__(self) -> Iterator[Batch]:
        """Yield micro-batches from where the feed stands, which moves on with each.

        Raises: InputError or MismatchError for rows that cannot be read; InputError for a row of
        another tokenizer, or one that is too long and not to be cut.
        """
        for batch in self.batches():
            self.row = batch.next_row
            self.num_tombstones += len(batch.tombstones)
            yield batch

    def batches(self, worker: int = 0, num_workers: int = 1) -> Iterator[Batch]:
        """Yield every `num_workers`-th micro-batch from where the feed stands, which stays there.

        The first is number `worker`. One of each worker in turn are those of a single one.
        """
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
        """Stand at the first row of a step. Raises: NotFoundError beyond the last."""
        if not 0 <= step <= self.num_steps:
            raise NotFoundError(
                f"{self.order.where}: got step {step:,}, expected one of 0 to {self.num_steps:,},"
                " the end of the order"
            )
        self.row = self.schedule.rows(step)[0]

    def seek_row(self, row: int) -> None:
        """Stand at a row. Raises: NotFoundError beyond the order."""
        num_rows = self.order.rows.num_rows
        if not 0 <= row <= num_rows:
            raise NotFoundError(
                f"{self.order.where}: got row {row:,}, expected one of 0 to {num_rows:,}, the end"
                " of the order"
            )
        self.row = row

    def position_after(self, num_batches: int, row: int | None = None) -> int:
        """Return where a feed at `row` stands after so many micro-batches; by default at its own.

        Raises: NotFoundError when there are fewer.
        """
        return row_after(
            self.schedule,
            self.order.rows.num_rows,
            self.row if row is None else row,
            self.world_size,
            self.micro_batch_rows,
            num_batches,
        )

    def state_dict(self, *_ignored: object) -> dict[str, Any]:
        """Return where it stands, for JSON; the same from any rank. Arguments play no part."""
        return describe_position(self.row, self.order.rows.num_rows, self.order.digest)

    def load_state_dict(self, state: object) -> None:
        """Stand where a state says, which may come from another rank, or from another number of
        ranks, another micro-batch, another schedule.

        Raises: MismatchError for a state of another order, InputError for what is no state.
        """
        num_rows, order = self.order.rows.num_rows, self.order
        self.row = row_of_position(state, num_rows, order.digest, order.where)

    def _batches(self, micros: Iterator[MicroBatch]) -> Iterator[Batch]:
        for group, rows, block in self._blocks(micros):
            stop = 0
            for micro in group:
                start, stop = stop, stop + len(micro.rows)
                if start < stop:
                    yield self._batch(micro, rows, block, start, stop)
                else:
                    yield self._filler(micro)

    def _blocks(
        self, micros: Iterator[MicroBatch]
    ) -> Iterator[tuple[list[MicroBatch], Rows, StoredRows]]:
        """Yield micro-batches with their rows under the view, and as they were read."""
        # The first is read by itself, so that it is there soon; how long rows are is known then.
        limit = 1
        while group := _take(micros, limit):
            try:
                rows, block = self._read(group)
            except (InputError, MismatchError):
                if len(group) == 1:
                    raise
                # One by one, so that all before the one that cannot be fed are.
                yield from (([micro], *self._read([micro])) for micro in group)
            else:
                yield group, rows, block
                limit = _BLOCK_IDS * len(rows) // max(len(rows.values), 1)
                limit = max(1, min(limit, _MOST_BLOCK_ROWS))

    def _read(self, group: list[MicroBatch]) -> tuple[Rows, StoredRows]:
        numbers = np.concatenate([micro.rows for micro in group])
        block = self._reader.read(numbers)
        rows = view_rows(block.rows, self.view, self.max_seq_len, self.special)
        lengths = np.diff(rows.offsets)
        too_long = np.flatnonzero(lengths > self.max_seq_len)[:1]
        if len(too_long):
            raise InputError(
                f"{self.order.file_of(int(numbers[too_long[0]]))}: row"
                f" {int(numbers[too_long[0]]):,}: got"
                f" {int(lengths[too_long[0]]):,} ids, expected at most {self.max_seq_len:,}",
                "raise max_seq_len (--max-seq-len), or feed it with an objective (--objective),"
                " whose view cuts rows",
            )
        return rows, block

    def _batch(
        self, micro: MicroBatch, rows: Rows, block: StoredRows, start: int, stop: int
    ) -> Batch:
        mine = rows.slice(start, stop)
        numbers, is_tombstone = micro.rows, block.is_tombstone[start:stop]
        digests = block.digests[start:stop] if self.digests else None
        packed = self._pack(mine)
        if packed is not None:
            order = packed.sequences
            mine, numbers, is_tombstone = mine.take(order), numbers[order], is_tombstone[order]
            digests = None if digests is None else digests[order]
        try:
            inputs = self._inputs(mine, numbers, is_tombstone, packed)
        except InputError as error:
            raise self._of_file(error, mine, numbers) from error
        labels = inputs.get("labels")
        return Batch(
            inputs=inputs,
            step=micro.step,
            rows=numbers,
            next_row=micro.next_row,
            ends_step=micro.ends_step,
            num_tokens=int(np.diff(mine.offsets)[~is_tombstone].sum()),
            num_labels=0 if labels is None else int(np.count_nonzero(labels != IGNORED)),
            tombstones=np.sort(numbers[is_tombstone]),
            digests=digests,
        )

    def _of_file(self, error: InputError, rows: Rows, numbers: Int64Array) -> InputError:
        """Return an error of ids that the tokenizer does not have, with the file they are of."""
        foreign = int(np.argmax(rows.values >= self.special.vocab_size))
        row = int(numbers[np.searchsorted(rows.offsets, foreign, side="right") - 1])
        return InputError(f"{self.order.file_of(row)}: {error.message}", error.hint)

    def _filler(self, micro: MicroBatch) -> Batch:
        """Return a batch of no row for a rank that has none, so that ranks stay in step."""
        pair = np.array([self.special.cls_id, self.special.sep_id], np.uint32)
        rows = Rows(values=pair, offsets=np.array([0, 2]))
        nothing = np.empty(0, np.int64)
        return Batch(
            inputs=self._inputs(
                rows, np.zeros(1, np.int64), np.ones(1, np.bool_), self._pack(rows)
            ),
            step=micro.step,
            rows=nothing,
            next_row=micro.next_row,
            ends_step=micro.ends_step,
            num_tokens=0,
            num_labels=0,
            tombstones=nothing,
            digests=np.empty((0, 32), np.uint8) if self.digests else None,
        )

    def _pack(self, rows: Rows) -> Packed | None:
        if self.packing is None:
            return None
        return PACKERS[self.packing](rows.lengths(), self.max_seq_len)

    def _inputs(
        self, rows: Rows, numbers: Int64Array, is_tombstone: BoolArray, packed: Packed | None
    ) -> Inputs:
        if packed is not None:
            return packed_inputs(rows, numbers, is_tombstone, self.objective, self.special, packed)
        if self.form == "padded":
            return padded_inputs(rows, numbers, is_tombstone, self.objective, self.special)
        return flat_inputs(
            rows,
            numbers,
            is_tombstone,
            self.objective,
            self.special,
            pad_to_multiple=self.pad_to_multiple,
        )


def view_of(objective: Objective | None) -> View:
    """Return the view that rows are fed under."""
    if objective is None:
        return "stored"
    return "encoder" if isinstance(objective, Mlm) else "decoder"


def _take(micros: Iterable[MicroBatch], num_rows: int) -> list[MicroBatch]:
    """Return the next micro-batches, at least one if there are any, of about so many rows."""
    group, taken = [], 0
    for micro in micros:
        group.append(micro)
        taken += len(micro.rows)
        if taken >= num_rows:
            break
    return group
