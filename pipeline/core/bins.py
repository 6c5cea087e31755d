"""Bins: numbers with weights, seen part by part -> the number at which a sum is reached.

Numbers are taken by rising value until their weights reach a goal. The last one taken is found in
passes that hold no number: each counts a span in equal bins, and the bin in which the goal is
reached is the next span, until it has so few numbers that they are sorted. Of uniform numbers, such
as those of named keys and of digests, 10⁹ need one pass of bins and one that sorts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import BoolArray, Int64Array, Uint64Array

NUM_BITS: Final = 64
_BITS_OF_BINS = 12
FEW: Final = 1 << 18
"""Numbers that one process sorts: 6 MiB of candidates."""
CANDIDATE_DTYPE: Final = np.dtype(
    [("number", "<u8"), ("weight", "<i8"), ("part", "<u4"), ("position", "<u4")]
)
"""A number in the span: its weight in its part, and its first position there."""
Candidates = NDArray[np.void]
"""`CANDIDATE_DTYPE` [num_candidates], by part."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Last:
    """The last number that is taken, and where: of equal numbers the first by part and position."""

    number: int
    part: int
    position: int
    is_largest: bool
    """Whether no number is larger."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """The numbers from `start` on that have all bits but the last `num_bits` in common with it."""

    start: int = 0
    num_bits: int = NUM_BITS
    goal: int
    """The weight to reach from `start` on; at least 1."""
    count: int
    """How many numbers lie in the span."""
    is_last: bool = True
    """Whether no number lies beyond."""

    @property
    def is_narrow(self) -> bool:
        return self.count <= FEW or not self.num_bits

    def bins(self, numbers: Uint64Array, weights: Int64Array) -> Int64Array:
        """Return weight and count of the numbers in each bin: int64 [2, num_bins]. Pure.

        weights: int64 [num_numbers], with a sum below 2^53.
        """
        bits = min(_BITS_OF_BINS, self.num_bits)
        inside = self._inside(numbers)
        places = (numbers[inside] - np.uint64(self.start)) >> np.uint64(self.num_bits - bits)
        of_bins = places.astype(np.int64)
        counts = np.bincount(of_bins, minlength=1 << bits)
        # Sums of whole floats are exact below 2^53.
        sums = np.bincount(of_bins, weights[inside], minlength=1 << bits)
        return np.stack([sums.astype(np.int64), counts.astype(np.int64)])

    def narrowed(self, bins: Int64Array) -> Self:
        """Return the bin in which the goal is reached; bins: the sum over all parts. Pure."""
        sums = np.cumsum(bins[0])
        reached = int(np.searchsorted(sums, self.goal, side="left"))
        num_bits = self.num_bits - (bins.shape[1].bit_length() - 1)
        return type(self)(
            start=self.start + (reached << num_bits),
            num_bits=num_bits,
            goal=self.goal - int(sums[reached] - bins[0, reached]),
            count=int(bins[1, reached]),
            is_last=self.is_last and not bins[1, reached + 1 :].any(),
        )

    def candidates(self, numbers: Uint64Array, weights: Int64Array, part: int) -> Candidates:
        """Return each number of a part that lies in the span once. Pure."""
        positions = np.flatnonzero(self._inside(numbers))
        distinct, firsts, owners = np.unique(
            numbers[positions], return_index=True, return_inverse=True
        )
        found = np.empty(len(distinct), CANDIDATE_DTYPE)
        found["number"], found["part"] = distinct, part
        found["weight"] = np.bincount(owners, weights[positions], minlength=len(distinct))
        found["position"] = positions[firsts]
        return found

    def last(self, parts: Iterable[Candidates]) -> Last:
        """Return the number that reaches the goal; parts: rising by part. Pure."""
        found = np.concatenate(list(parts))
        order = np.argsort(found["number"], kind="stable")
        sums = np.cumsum(found["weight"][order])
        reached = found[order[np.searchsorted(sums, self.goal, side="left")]]
        number = int(reached["number"])
        return Last(
            number=number,
            part=int(reached["part"]),
            position=int(reached["position"]),
            is_largest=self.is_last and number == int(found["number"][order[-1]]),
        )

    def _inside(self, numbers: Uint64Array) -> BoolArray:
        if self.num_bits == NUM_BITS:
            return np.ones(len(numbers), np.bool_)
        # Those below wrap around.
        inside: BoolArray = numbers - np.uint64(self.start) < np.uint64(1 << self.num_bits)
        return inside
