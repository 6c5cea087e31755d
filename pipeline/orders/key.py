"""What an order follows from, and what can be asked of it."""

from dataclasses import dataclass
from typing import Protocol

from pipeline.records import Int64Array


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderKey:
    """Everything that an order follows from."""

    algorithm: str
    """A name of `ALGORITHMS`."""
    num_samples: int
    """How many samples there are."""
    seed: int
    """As declared."""
    epoch: int
    """Which pass over the samples, from 0."""


class Order(Protocol):
    """A permutation of the samples, and its inverse."""

    def samples(self, start: int, stop: int) -> Int64Array:
        """Return the samples at positions `start` to `stop`: int64 [stop - start]."""

    def positions(self, start: int, stop: int) -> Int64Array:
        """Return the positions of samples `start` to `stop`: int64 [stop - start]."""
