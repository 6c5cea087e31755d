"""numpy's shuffle in blocks: a permutation and its inverse -> a file, in memory of one block.

`Generator.shuffle` draws j <= i and swaps places i and j, for i = N - 1 … 1. Read backwards, the
same draws make the inverse: for i = 0 … N - 1, sample i takes the position of sample j, and sample
j goes to position i. A draw touches two samples, j and then i >= j, so blocks of samples are made
from the lowest up, and what a draw needs elsewhere travels as a pair on disk:

1. draws: (j, i), to the block of j, which reads them backwards, from the lowest i up;
2. positions that sample i takes from a lower block: (i, position), to the block of i;
3. positions of all samples: (position, sample), to the block of the position, of the permutation.

Disk: pairs of all kinds together take 8 bytes a sample, since a bucket is removed once it is read
and what it held goes on as the next kind; beside them the inverse grows to 4. What is left has 8.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import numpy as np

from pipeline.core.arrays import Int64Array, Uint32Array, Uint64Array
from pipeline.core.compiled import compiled
from pipeline.core.files import reading_scratch

BLOCK = 1 << 23
"""Samples of a block, a power of two: 32 MiB."""
# Pairs at a time, which are sorted in memory: 16 MiB, and as much sorted.
_PAIRS_AT_ONCE = 1 << 21
_ITEM_BYTES = 4
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def write_shuffle(file: BinaryIO, num_samples: int, seed: int, scratch: Path) -> None:
    """Write the permutation of numpy's PCG64DXSM and then its inverse, uint32 little-endian.

    file: at the place of the first number; fewer than 2**32 samples.

    Raises: OSError; OutputError for a bucket that lost pairs.
    """
    start = file.tell()
    scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="shuffle-", dir=scratch) as folder:
        num_blocks = -(-num_samples // BLOCK)
        draws, taken, placed = (
            _Buckets(folder=Path(folder, name), num_pairs=[0] * num_blocks)
            for name in ("draws", "taken", "placed")
        )
        for pairs in _draw(num_samples, seed):
            draws.add(pairs)
        blocks = [
            (first, min(first + BLOCK, num_samples)) for first in range(0, num_samples, BLOCK)
        ]
        file.seek(start + _ITEM_BYTES * num_samples)
        for block, (first, stop) in enumerate(blocks):
            positions = np.zeros(stop - first, np.uint32)
            for pairs in taken.take(block):
                _put(positions, first, pairs)
            for pairs in draws.take(block):
                taken.add(_follow(positions, first, pairs))
            file.write(positions.astype("<u4", copy=False).data)
            for at in range(0, len(positions), _PAIRS_AT_ONCE):
                placed.add(_pair(positions[at : at + _PAIRS_AT_ONCE], first + at))
        file.seek(start)
        for block, (first, stop) in enumerate(blocks):
            samples = np.empty(stop - first, np.uint32)
            for pairs in placed.take(block):
                _put(samples, first, pairs)
            file.write(samples.astype("<u4", copy=False).data)


@dataclass(kw_only=True, slots=True)
class _Buckets:
    """Pairs on disk, in one file for each block: place in the high half, value in the low."""

    folder: Path
    num_pairs: list[int]
    """Of each block."""

    def __post_init__(self) -> None:
        self.folder.mkdir()

    def add(self, pairs: Uint64Array) -> None:
        """Append each pair to the bucket of its place, in this order."""
        in_order, ends = _sort_by_block(pairs, BLOCK, len(self.num_pairs))
        start = 0
        for block, stop in enumerate(ends.tolist()):
            if start < stop:
                with self._path(block).open("ab") as file:
                    file.write(in_order[start:stop].astype("<u8", copy=False).data)
                self.num_pairs[block] += stop - start
            start = stop

    def take(self, block: int) -> Iterator[Uint64Array]:
        """Yield the pairs of a block, from the last to the first, and remove them."""
        path, stop = self._path(block), self.num_pairs[block]
        if not stop:
            return
        with reading_scratch(path), path.open("rb") as file:
            while stop:
                first = max(stop - _PAIRS_AT_ONCE, 0)
                file.seek(8 * first)
                pairs = np.fromfile(file, "<u8", stop - first)
                if len(pairs) < stop - first:
                    raise ValueError(f"got {first + len(pairs):,} pairs, expected {stop:,}")
                yield pairs[::-1]
                stop = first
        path.unlink()

    def _path(self, block: int) -> Path:
        return self.folder / f"{block:06d}"


def _draw(num_samples: int, seed: int) -> Iterator[Uint64Array]:
    """Yield (j, i) of every draw, from i = num_samples - 1 down to 1."""
    generator = np.random.PCG64DXSM(seed)
    step = num_samples - 1
    while step > 0:
        # Of each 64-bit number the low half comes first.
        words = generator.random_raw(_PAIRS_AT_ONCE // 2).astype("<u8", copy=False).view("<u4")
        pairs = _accept(words, step)
        step -= len(pairs)
        yield pairs


@compiled
def _accept(words: Uint32Array, step: int) -> Uint64Array:
    """Return the draws that numbers give: each is masked, and passed over if above the step."""
    pairs = np.empty(words.size, np.uint64)
    count = 0
    mask = np.uint64(0xFFFFFFFF)
    left = np.uint64(step)
    for word in words:
        if left == 0:
            break
        while mask >> np.uint64(1) >= left:
            mask >>= np.uint64(1)
        place = np.uint64(word) & mask
        if place <= left:
            pairs[count] = place << _HALF | left
            count += 1
            left -= np.uint64(1)
    return pairs[:count]


@compiled
def _follow(positions: Uint32Array, first: int, draws: Uint64Array) -> Uint64Array:
    """Follow draws of the samples of a block; return the positions that other blocks take."""
    taken = np.empty(draws.size, np.uint64)
    count = 0
    for pair in draws:
        place, step = (pair >> _HALF) - np.uint64(first), pair & _LOW
        within = step - np.uint64(first)
        if within < positions.size:
            positions[within] = positions[place]
        else:
            taken[count] = step << _HALF | np.uint64(positions[place])
            count += 1
        positions[place] = np.uint32(step)
    return taken[:count]


@compiled
def _put(values: Uint32Array, first: int, pairs: Uint64Array) -> None:
    for pair in pairs:
        values[(pair >> _HALF) - np.uint64(first)] = np.uint32(pair & _LOW)


@compiled
def _pair(positions: Uint32Array, first: int) -> Uint64Array:
    """Return (position, sample) of consecutive samples."""
    pairs = np.empty(positions.size, np.uint64)
    for i in range(positions.size):
        pairs[i] = np.uint64(positions[i]) << _HALF | np.uint64(first + i)
    return pairs


@compiled
def _sort_by_block(
    pairs: Uint64Array, block: int, num_blocks: int
) -> tuple[Uint64Array, Int64Array]:
    """Return pairs by the block of their place, else in order, and where each block ends."""
    size = np.uint64(block) << _HALF
    ends = np.zeros(num_blocks, np.int64)
    for pair in pairs:
        ends[pair // size] += 1
    total = 0
    for i in range(num_blocks):
        total, ends[i] = total + ends[i], total
    in_order = np.empty_like(pairs)
    for pair in pairs:
        target = pair // size
        in_order[ends[target]] = pair
        ends[target] += 1
    return in_order, ends
