"""The sample of a source: which of its chunks are written and how often, and the token balance.

A budget above what is available repeats all chunks and samples the rest by the usual rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.config import SampleSpec
from pipeline.core.arrays import BoolArray, Int64Array
from pipeline.stages.sampling.algorithms import SAMPLERS
from pipeline.stages.sampling.budget import Ask, repetitions


@dataclass(frozen=True, kw_only=True, slots=True)
class Balance:
    """A source's sample in tokens; `drawn` is `asked` plus `overshoot`."""

    asked: int
    """The token budget."""
    available: int
    """Tokens of all chunks."""
    num_repetitions: int
    """How often every chunk is used before the rest is sampled."""
    drawn: int
    repeated: int
    """Tokens of repeated chunks among them."""
    overshoot: int
    """Tokens above the budget, since chunks are not cut."""


def sample_source(
    ask: Ask, lengths_by_partition: Mapping[str, Int64Array], sample: SampleSpec
) -> tuple[int, dict[str, BoolArray]]:
    """Return how often every chunk is used, and by partition the chunks to use once more. Pure.

    lengths_by_partition: int64 [num_chunks], tokens of each chunk; chunks to use once more: bool
    [num_chunks]. Raises: ConfigError when there are too few tokens, with both ways out.
    """
    available = sum(int(lengths.sum()) for lengths in lengths_by_partition.values())
    whole, beyond = repetitions(ask, available)
    sampler = SAMPLERS[sample.algorithm]
    return whole, sampler(ask.source, lengths_by_partition, beyond, sample.seed)


def balance_of(ask: Ask, available: int, drawn: int) -> Balance:
    """Return the balance of `drawn` tokens out of `available`. Raises: as `repetitions`."""
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
    """Return the rows of a partition in output order: whole repetitions, then the rest."""
    whole = np.tile(np.arange(len(again)), num_repetitions)
    return np.concatenate([whole, np.flatnonzero(again)])
