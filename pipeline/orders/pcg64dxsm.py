"""`ettin-pcg64dxsm-v1`: the permutation of the published sampler, saved once and mapped afterwards.

Source: orionw/bert24, `src/text_data.py`, DistributedSamplerPCG64DXSM.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import DefectError
from pipeline.files import publish, save_array
from pipeline.orders.key import OrderKey
from pipeline.records import Int64Array, Uint32Array

# sha256 of the permutation of 1,000 samples with seed 21, as little-endian uint32.
_CHECK_SEED, _CHECK_SAMPLES = 21, 1000
_CHECK_SHA256 = "b659ae5b00dcf676c40fff9c20dcd16e978b466c6ec79937e305884ff551b57d"


def permutation(num_samples: int, *, seed: int, epoch: int) -> Uint32Array:
    """Return `ettin-pcg64dxsm-v1`: uint32 [num_samples], the sample at each position.

    numpy's PCG64DXSM, seeded `seed + epoch`, shuffles 0 … num_samples - 1. A uint32 array shuffled
    in place draws the same numbers as the int64 array of `Generator.permutation`.

    Source: orionw/bert24, `src/text_data.py`, DistributedSamplerPCG64DXSM.
    Raises: DefectError when this numpy draws otherwise than the frozen vector.
    """
    if _vector_sha256() != _CHECK_SHA256:
        raise DefectError(
            f"order: numpy {np.__version__} draws another permutation than ettin-pcg64dxsm-v1",
            "install the numpy that pyproject.toml names, and report this",
        )
    return _shuffle(num_samples, seed + epoch)


def _shuffle(num_samples: int, seed: int) -> Uint32Array:
    samples = np.arange(num_samples, dtype=np.uint32)
    np.random.Generator(np.random.PCG64DXSM(seed)).shuffle(samples)
    return samples


def _vector_sha256() -> str:
    return hashlib.sha256(_shuffle(_CHECK_SAMPLES, _CHECK_SEED).astype("<u4").data).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedPermutation:
    """A permutation and its inverse on disk, mapped."""

    rows: Uint32Array
    """uint32 [num_samples], the sample at each position."""
    inverse: Uint32Array
    """uint32 [num_samples], the position of each sample."""

    def samples(self, start: int, stop: int) -> Int64Array:
        """Return the samples at positions `start` to `stop`: int64 [stop - start]."""
        return self.rows[start:stop].astype(np.int64)

    def positions(self, start: int, stop: int) -> Int64Array:
        """Return the positions of samples `start` to `stop`: int64 [stop - start]."""
        return self.inverse[start:stop].astype(np.int64)


def save(key: OrderKey, folder: Path, scratch: Path) -> None:
    """Publish the permutation and its inverse as `samples.npy` and `positions.npy`."""
    rows = permutation(key.num_samples, seed=key.seed, epoch=key.epoch)
    inverse = np.empty_like(rows)
    inverse[rows] = np.arange(len(rows), dtype=np.uint32)
    for name, array in (("samples", rows), ("positions", inverse)):
        with publish(folder / f"{name}.npy", scratch) as temporary:
            save_array(temporary, array)


def load(key: OrderKey, folder: Path) -> SavedPermutation:
    """Map what `save` published."""
    rows, inverse = (
        np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("samples", "positions")
    )
    return SavedPermutation(rows=rows, inverse=inverse)
