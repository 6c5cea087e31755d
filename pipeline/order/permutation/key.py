"""The key of a permutation, and the interface of every permutation."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipeline.core.arrays import Int64Array


@dataclass(frozen=True, kw_only=True, slots=True)
class PermutationKey:
    """Everything that a permutation depends on."""

    algorithm: str
    """A name of `ALGORITHMS`."""
    num_samples: int
    seed: int
    epoch: int
    """Which pass over the samples, from 0."""


class Permutation(Protocol):
    """A permutation of the samples, and its inverse.

    Positions and samples count from 0; callers stay below `num_samples`.
    """

    def samples_at(self, positions: Int64Array) -> Int64Array:
        """Return the samples at any positions: int64 [num_positions] -> int64 [num_positions]."""

    def positions_of(self, samples: Int64Array) -> Int64Array:
        """Return the positions of any samples: int64 [num_samples] -> int64 [num_samples]."""

    def samples(self, start: int, stop: int) -> Int64Array:
        """Return the samples at positions `start` to `stop`: int64 [stop - start]."""
        return self.samples_at(np.arange(start, stop, dtype=np.int64))

    def positions(self, start: int, stop: int) -> Int64Array:
        """Return the positions of samples `start` to `stop`: int64 [stop - start]."""
        return self.positions_of(np.arange(start, stop, dtype=np.int64))


def are_within(numbers: Int64Array, num_samples: int) -> bool:
    """Whether all positions, or samples, lie inside an order."""
    return not len(numbers) or bool(numbers.min() >= 0 and numbers.max() < num_samples)
