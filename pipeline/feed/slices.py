"""Slices: the rows that each rank takes of each step, one micro-batch at a time.

The micro-batches of all ranks hold each row of the whole steps once; number k is of one step.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.core.arrays import Int64Array
from pipeline.core.errors import NotFoundError
from pipeline.order import Schedule, slice_of, steps_from


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MicroBatch:
    """The rows of one rank's micro-batch, not yet read."""

    step: int
    rows: Int64Array
    """int64 [at most the size of a micro-batch], rising; empty where other ranks took all."""
    next_row: int
    """The first row after this micro-batch of all ranks."""
    ends_step: bool


def micro_batches(
    schedule: Schedule,
    num_rows: int,
    row: int,
    rank: int,
    world_size: int,
    micro_batch_rows: int,
) -> Iterator[MicroBatch]:
    """Yield a rank's micro-batches of the whole steps among `num_rows` rows, from a row on.

    Micro-batch k of all ranks together is the k-th run of `world_size * micro_batch_rows` rows of
    a step; the last may be shorter. A rank takes every `world_size`-th row of a run, starting at
    the `rank`-th. Pure.
    """
    for step, start, stop in steps_from(schedule, row, num_rows):
        for first in range(start, stop, world_size * micro_batch_rows):
            next_row = min(first + world_size * micro_batch_rows, stop)
            mine = slice_of(first, next_row, rank, world_size)
            yield MicroBatch(
                step=step,
                rows=np.arange(mine.start, mine.stop, mine.step),
                next_row=next_row,
                ends_step=next_row == stop,
            )


def row_after(
    schedule: Schedule, num_rows: int, row: int, world_size: int, micro_batch_rows: int, count: int
) -> int:
    """Return the row to resume at after `count` micro-batches from a row on. Pure.

    Raises: NotFoundError when there are fewer.
    """
    run, left = world_size * micro_batch_rows, count
    for _, start, stop in steps_from(schedule, row, num_rows):
        if left == 0:
            return start
        in_step = -(-(stop - start) // run)
        if left <= in_step:
            return min(start + left * run, stop)
        left -= in_step
    if left:
        raise NotFoundError(
            f"got {count:,} micro-batches from row {row:,}, expected at most {count - left:,}, as"
            " many as there are"
        )
    return row
