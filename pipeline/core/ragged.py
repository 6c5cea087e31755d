"""Ragged arrays: many sequences of different lengths as one flat array with offsets.

Rows, encoded documents and hashes travel in this form, so that no stage does Python work per token.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.core.arrays import BoolArray, Int64Array
from pipeline.core.compiled import compiled_late

Scalar = TypeVar("Scalar", bound=np.generic)


# Without slots: calling an alias such as `Rows` sets an attribute, and ignores that it cannot.
@dataclass(frozen=True)
class Ragged(Generic[Scalar]):
    """Sequences of one dtype; sequence i is `values[offsets[i]:offsets[i + 1]]`."""

    values: NDArray[Scalar]
    """[num_values], those of all sequences."""
    offsets: Int64Array
    """int64 [num_sequences + 1], from 0."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[Scalar]:
        """Return one sequence, as a view."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def __iter__(self) -> Iterator[NDArray[Scalar]]:
        return map(self.__getitem__, range(len(self)))

    def lengths(self) -> Int64Array:
        return np.diff(self.offsets)

    def slice(self, start: int, stop: int) -> Self:
        """Return sequences `start` to `stop`; values are a view."""
        offsets = self.offsets[start : stop + 1]
        if not len(offsets):
            return type(self)(self.values[:0], np.zeros(1, np.int64))
        return type(self)(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])

    def take(self, chosen: Int64Array | BoolArray) -> Self:
        """Return the sequences at some indices, in their order, or where a mask is true: a copy."""
        if chosen.dtype == np.bool_:
            chosen = np.flatnonzero(chosen)
        return self.from_ranges(self.values, self.offsets[chosen], self.offsets[chosen + 1])

    @classmethod
    def from_ranges(cls, values: NDArray[Scalar], starts: Int64Array, stops: Int64Array) -> Self:
        """Copy the sequences `values[starts[i]:stops[i]]`, which may overlap."""
        lengths = stops - starts
        offsets = offsets_of(lengths)
        copied = np.empty(int(offsets[-1]), values.dtype)
        copy_ranges(values, starts, lengths, copied, offsets[:-1])
        return cls(copied, offsets)

    @classmethod
    def pack(cls, sequences: Sequence[NDArray[Scalar]]) -> Self:
        """Copy at least one sequence into one array."""
        return cls(np.concatenate(sequences), offsets_of(list(map(len, sequences))))

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Join the sequences of at least one part; a single part is not copied."""
        if len(parts) == 1:
            return parts[0]
        lengths = np.concatenate([part.lengths() for part in parts])
        return cls(np.concatenate([part.values for part in parts]), offsets_of(lengths))


Rows = Ragged[np.uint32]
"""Token ids: of rows of an order or a pool, or of documents."""

ByteStrings = Ragged[np.uint8]
"""Texts in UTF-8, or parts of them."""


def byte_strings(parts: Sequence[bytes | memoryview]) -> ByteStrings:
    return ByteStrings(np.frombuffer(b"".join(parts), np.uint8), offsets_of(list(map(len, parts))))


def offsets_of(lengths: ArrayLike) -> Int64Array:
    """Return the offsets of sequences of these lengths: int64 [num_sequences + 1]."""
    lengths = np.asarray(lengths, np.int64)
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


@compiled_late
def copy_ranges(
    source: NDArray[Scalar],
    starts: Int64Array,
    lengths: Int64Array,
    target: NDArray[Scalar],
    target_starts: Int64Array,
) -> None:
    """Copy ranges of one array to places of another."""
    for i in range(starts.size):
        values = source[starts[i] : starts[i] + lengths[i]]
        room = target[target_starts[i] : target_starts[i] + lengths[i]]
        for j in range(lengths[i]):
            room[j] = values[j]
