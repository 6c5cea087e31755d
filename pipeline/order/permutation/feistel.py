"""`feistel-v1`: a keyed permutation computed in constant time per sample, never stored.

Frozen: `docs/spec/orders.md` specifies the whole algorithm, and tests hold literal vectors.

The samples are the first cells of a square, numbered along its rows. A round maps (row, column) to
(column, row + F(column) mod side), F being keyed. Cells that end outside the samples walk the
rounds again; few do, since hardly more than 4 · sqrt(num_samples) cells are outside.

Source: Black, Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002 (cycle walking, and
Feistel rounds that add modulo a side).
"""

from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.arrays import Int64Array, Uint64Array
from pipeline.core.compiled import compiled_late, inlined
from pipeline.core.errors import ConfigError
from pipeline.core.seeds import derive_key, mix, random_numbers
from pipeline.order.permutation.key import Permutation, PermutationKey, are_within

ALGORITHM = "feistel-v1"
LARGEST = 2**48

# After 12 rounds of independent functions, every permutation of four samples (the hardest case) is
# within 0.1 % of equally likely; each round less doubles that.
_ROUNDS = 12
# Cells sent through a round at a time: 4 KiB of rows and as much of columns stay in the cache.
_BLOCK = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Feistel(Permutation):
    """A permutation by Feistel rounds."""

    num_samples: int
    side: int
    """Side of the square: the smallest even number >= 2 whose square is at least `num_samples`.

    Rotating an odd number of places is an even permutation, so an odd side would allow only those.
    """
    round_keys: Uint64Array
    """uint64 [12], one per round."""

    def samples_at(self, positions: Int64Array) -> Int64Array:
        return self._walked(positions, is_forward=True)

    def positions_of(self, samples: Int64Array) -> Int64Array:
        return self._walked(samples, is_forward=False)

    def _walked(self, places: Int64Array, *, is_forward: bool) -> Int64Array:
        # A cell outside the square would never come back.
        assert are_within(places, self.num_samples)
        cells = places.astype(np.uint64)
        num_samples, side = np.uint64(self.num_samples), np.uint64(self.side)
        _walk(cells, num_samples, side, self.round_keys, is_forward)
        return cells.view(np.int64)


def save(key: PermutationKey, folder: Path, scratch: Path) -> None:
    """Check the key; nothing is stored. Raises: ConfigError for more than 2**48 samples."""
    if key.num_samples > LARGEST:
        raise ConfigError(
            f"order: got {key.num_samples:,} samples, expected at most {LARGEST:,} with {ALGORITHM}"
        )


def load(key: PermutationKey, folder: Path) -> Feistel:
    root = isqrt(max(key.num_samples - 1, 0)) + 1
    labels = ("order", ALGORITHM, str(key.epoch), str(key.num_samples))
    return Feistel(
        num_samples=key.num_samples,
        side=root + root % 2,
        round_keys=random_numbers(derive_key(key.seed, *labels), _ROUNDS),
    )


def file_name(key: PermutationKey) -> None:
    """Return None: nothing is stored."""


@compiled_late
def _walk(
    cells: Uint64Array,
    num_samples: np.uint64,
    side: np.uint64,
    round_keys: Uint64Array,
    is_forward: bool,
) -> None:
    """Walk every cell to the next one that is a sample, in place."""
    for start in range(0, cells.size, _BLOCK):
        block = cells[start : start + _BLOCK]
        _go(block, side, round_keys, is_forward)
        for i in range(block.size):
            while block[i] >= num_samples:
                _go(block[i : i + 1], side, round_keys, is_forward)


@inlined
def _go(cells: Uint64Array, side: np.uint64, round_keys: Uint64Array, is_forward: bool) -> None:
    """Send cells, which are independent and so the inner loop, through all rounds, in place."""
    rows = cells // side
    columns = cells - rows * side
    for j in range(round_keys.size):
        if is_forward:
            round_key = round_keys[j]
            for i in range(cells.size):
                turned = rows[i] + _turn(columns[i], round_key, side)
                rows[i] = columns[i]
                columns[i] = turned - side if turned >= side else turned
        else:
            round_key = round_keys[round_keys.size - 1 - j]
            for i in range(cells.size):
                turned = columns[i] + side - _turn(rows[i], round_key, side)
                columns[i] = rows[i]
                rows[i] = turned - side if turned >= side else turned
    cells[:] = rows * side + columns


@inlined
def _turn(place: Any, round_key: Any, side: Any) -> Any:
    # The highest 40 bits, as a fraction of 2^40, times `side`, which is at most 2^24.
    return ((mix(place ^ round_key) >> np.uint64(24)) * side) >> np.uint64(40)
