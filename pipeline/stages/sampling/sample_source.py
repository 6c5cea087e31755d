"""The sample of a source: which of its chunks are written, how often, and the balance of it.

Enters: the lengths of a source's chunks, by partition, and what is asked of it. Leaves: for each
partition the rows to write, in order. Where more is asked than there is, all chunks are repeated,
and the rest is sampled by the same rule as a part of them would be.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from pipeline.config import SampleSpec
from pipeline.core.arrays import BoolArray, Int64Array
from pipeline.stages.sampling.algorithms import SAMPLERS
from pipeline.stages.sampling.budget import Ask, repetitions


@dataclass(frozen=True, kw_only=True, slots=True)
class Balance:
    """A source's sample in tokens; `drawn` is `asked` plus `overshoot`."""

    asked: int
    """Tokens asked for."""
    available: int
    """Tokens of all chunks."""
    num_repetitions: int
    """How often every chunk is used, before the rest is sampled."""
    drawn: int
    """Tokens sampled."""
    repeated: int
    """Of these, tokens of chunks that were used before."""
    overshoot: int
    """Tokens beyond those asked for, since chunks are not cut."""

    def to_json(self) -> dict[str, int]:
        """Return the balance as a manifest has it."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceSample:
    """The chunks of a source that are sampled."""

    num_repetitions: int
    """How often every chunk is used."""
    again: dict[str, BoolArray]
    """bool [num_chunks] by partition, the chunks that are used once more."""
    balance: Balance
    """The sample in tokens."""


def sample_source(
    ask: Ask, lengths_by_partition: Mapping[str, Int64Array], sample: SampleSpec
) -> SourceSample:
    """Sample what is asked of a source from the chunks that it has. Pure.

    lengths_by_partition: int64 [num_chunks], tokens of each chunk.

    Raises: ConfigError when there are too few tokens, with both ways out.
    """
    available = sum(int(lengths.sum()) for lengths in lengths_by_partition.values())
    whole, beyond = repetitions(ask, available)
    again = SAMPLERS[sample.algorithm](ask.source, lengths_by_partition, beyond, sample.seed)
    drawn = whole * available + sum(
        int(lengths_by_partition[name][part].sum()) for name, part in again.items()
    )
    return SourceSample(
        num_repetitions=whole, again=again, balance=balance_of(ask, available, drawn)
    )


def balance_of(ask: Ask, available: int, drawn: int) -> Balance:
    """Return the balance of `drawn` tokens from `available`. Raises: as `repetitions`."""
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
