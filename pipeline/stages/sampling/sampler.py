"""Drawn: which chunks of a source are written, how often, and the account of it.

Enters: the lengths of a source's chunks, by partition, and what is asked of it. Leaves: for each
partition the rows to write, in order. Where more is asked than there is, all chunks are drawn again
and again, and the rest is drawn by the same rule as a part of them would be.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np

from pipeline.config import SampleSpec
from pipeline.core.arrays import BoolArray, Int64Array
from pipeline.stages.sampling import keyed, whole_partitions
from pipeline.stages.sampling.budget import Ask, repetitions

Draw = Callable[[str, Mapping[str, Int64Array], int, int], dict[str, BoolArray]]

DRAWS: Final[dict[str, Draw]] = {
    "keyed-v1": keyed.draw,
    "ettin-partitions-v1": whole_partitions.draw,
}
"""Ways to choose chunks, by name: (source, lengths by partition, tokens, seed) -> drawn or not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Balance:
    """The account of a source's draw, in tokens; `drawn` is `asked` and `overshoot`."""

    asked: int
    """Tokens asked for."""
    available: int
    """Tokens of all chunks."""
    num_repetitions: int
    """How often every chunk was drawn, before what was drawn beyond."""
    drawn: int
    """Tokens drawn."""
    repeated: int
    """Of these, tokens of chunks that had been drawn before."""
    overshoot: int
    """Tokens drawn beyond those asked for, since chunks are not cut."""

    def to_json(self) -> dict[str, int]:
        """Return the account as a manifest keeps it."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """The chunks of a source that are drawn."""

    num_repetitions: int
    """How often every chunk is drawn."""
    again: dict[str, BoolArray]
    """bool [num_chunks] by partition, the chunks that are drawn once more."""
    balance: Balance
    """The account of it."""


def draw_source(
    ask: Ask, lengths_by_partition: Mapping[str, Int64Array], sample: SampleSpec
) -> Drawn:
    """Draw what is asked of a source from the chunks that it has. Pure.

    lengths_by_partition: int64 [num_chunks], tokens of each chunk.

    Raises: ConfigError when there are too few tokens, with both ways out.
    """
    available = sum(int(lengths.sum()) for lengths in lengths_by_partition.values())
    whole, beyond = repetitions(ask, available)
    again = DRAWS[sample.algorithm](ask.source, lengths_by_partition, beyond, sample.seed)
    drawn = whole * available + sum(
        int(lengths_by_partition[name][part].sum()) for name, part in again.items()
    )
    return Drawn(num_repetitions=whole, again=again, balance=balance_of(ask, available, drawn))


def balance_of(ask: Ask, available: int, drawn: int) -> Balance:
    """Return the account of a draw of `drawn` tokens from `available`. Raises: as `repetitions`."""
    whole, beyond = repetitions(ask, available)
    asked = whole * available + beyond
    return Balance(
        asked=asked,
        available=available,
        num_repetitions=whole,
        drawn=drawn,
        repeated=max(drawn - available, 0),
        overshoot=drawn - asked,
    )


def rows_to_write(num_repetitions: int, again: BoolArray) -> Int64Array:
    """Return a partition's rows as they are written: every repetition whole, then those again."""
    whole = np.tile(np.arange(len(again)), num_repetitions)
    return np.concatenate([whole, np.flatnonzero(again)])
