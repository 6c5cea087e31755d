"""Schedule: which rows of an order each optimizer step takes.

Each step takes the rows after those of the step before; too few for one more are dropped and
counted. World size only cuts steps into slices. A resume position is a row, since steps depend on
the schedule.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from math import ceil

import numpy as np

from pipeline.core.arrays import Int64Array
from pipeline.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """A division of rows into steps, which may grow at first. Steps and rows count from 0."""

    num_rows_per_step: int
    """Rows of one step over all ranks, at least 1: the global batch size, after any warm-up."""
    starts: tuple[int, ...] = (0,)
    """First row of each growing step, rising from 0, then the first row after them."""

    def rows(self, step: int) -> tuple[int, int]:
        """Return the rows of a step as `start` and `stop`."""
        after = step - (len(self.starts) - 1)
        if after < 0:
            return self.starts[step], self.starts[step + 1]
        start = self.starts[-1] + after * self.num_rows_per_step
        return start, start + self.num_rows_per_step

    def step_of(self, row: int) -> int:
        after = row - self.starts[-1]
        if after < 0:
            return bisect_right(self.starts, row) - 1
        return len(self.starts) - 1 + after // self.num_rows_per_step

    def num_steps(self, num_rows: int) -> int:
        """Return how many whole steps the first `num_rows` rows make."""
        return self.step_of(num_rows)


@dataclass(frozen=True, kw_only=True, slots=True)
class WarmUpRule:
    """`modernbert-warmup`: how many rows a step takes while the batch size warms up.

    ModernBERT's trainer counts on each rank: rows of its part of a step (each one packed
    micro-batch), and tokens fed to it without padding.

    Source: AnswerDotAI/ModernBERT, `src/sequence_packer.py`, BatchSizeWarmupScheduler.
    """

    min_rows: int
    """Rows of a rank in the first step, at least 1."""
    max_rows: int
    """Rows of a rank in a step after the warm-up, more than `min_rows`."""
    num_tokens: int
    """Tokens of the warm-up over all ranks, at least 0."""
    num_ranks: int
    """Ranks that the rule counts for; its steps can be sliced for any world size."""

    def __post_init__(self) -> None:
        if not 1 <= self.min_rows < self.max_rows:
            raise ConfigError(
                f"warm-up: got {self.min_rows:,} to {self.max_rows:,} rows, expected at least 1 "
                "and growing",
                "use a constant schedule for a constant batch size",
            )
        if self.num_tokens < 0 or self.num_ranks < 1:
            raise ConfigError(
                f"warm-up: got {self.num_tokens:,} tokens over {self.num_ranks:,} ranks, expected "
                "at least 0 tokens over at least 1 rank"
            )

    @property
    def num_rank_tokens(self) -> int:
        return ceil(self.num_tokens / self.num_ranks)

    def thresholds(self) -> list[int]:
        """Return, for each size but the largest, the tokens of a rank at which it ends.

        A size b lasts b parts of the tokens, so each size lasts about equally many steps.
        """
        sizes = range(self.min_rows, self.max_rows)
        # In floating point, as in ModernBERT's trainer.
        part = self.num_rank_tokens / sum(sizes)
        return [ceil(part * parts) for parts in accumulate(sizes)]

    def _rows_after(self, num_rank_tokens: int, thresholds: list[int]) -> int:
        if num_rank_tokens >= self.num_rank_tokens:
            return self.max_rows
        return self.min_rows + bisect_right(thresholds, num_rank_tokens)

    def schedule(self, row_tokens: Int64Array) -> Schedule:
        """Return the schedule of the rows of an order.

        row_tokens: int64 [num_rows], the tokens of each row without padding; to the end of the
        order, or at least of the warm-up.

        Rows go to the ranks in turn, and rank 0 counts. In ModernBERT's trainer another rank may
        change size a step earlier or later; steps would then not be ranges of rows.
        """
        passed = np.cumsum(row_tokens[:: self.num_ranks], dtype=np.int64)
        thresholds = self.thresholds()
        starts = [0]
        fed = 0
        while (rows := self._rows_after(fed, thresholds)) < self.max_rows:
            stop = starts[-1] + rows * self.num_ranks
            if stop > len(row_tokens):
                break
            fed = int(passed[stop // self.num_ranks - 1])
            starts.append(stop)
        return Schedule(num_rows_per_step=self.max_rows * self.num_ranks, starts=tuple(starts))


def steps_from(schedule: Schedule, row: int, num_rows: int) -> Iterator[tuple[int, int, int]]:
    """Yield (step, start, stop) of the whole steps among `num_rows` rows, from a row on.

    Of the step that holds the row, only the rows from there on are yielded.
    """
    for step in range(schedule.step_of(row), schedule.num_steps(num_rows)):
        start, stop = schedule.rows(step)
        yield step, max(start, row), stop


def num_rows_dropped(schedule: Schedule, num_rows: int) -> int:
    """Return how many of the first `num_rows` rows are in no whole step."""
    return num_rows - schedule.rows(schedule.num_steps(num_rows))[0]


def slice_of(start: int, stop: int, rank: int, world_size: int) -> range:
    """Return a rank's rows of a step: every `world_size`-th, from the `rank`-th on.

    Row j of the slice is `start + rank + j * world_size`; a micro-batch of m rows is the next m.

    Source: orionw/bert24, `src/text_data.py`, DistributedSamplerPCG64DXSM.
    """
    return range(start + rank, stop, world_size)
