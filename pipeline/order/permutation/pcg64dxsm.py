"""`ettin-pcg64dxsm-v1`: the permutation of the published sampler, saved once and mapped afterwards.

Making it takes 4 bytes of memory per sample (10.4 GiB for 2.8 billion): numpy shuffles a uint32
array in place with the same draws as its own `permutation`.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from blake3 import blake3

from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.core.digest import sha256_bytes
from pipeline.core.errors import ConfigError, InternalError
from pipeline.core.files import load_array, publish
from pipeline.order.permutation.key import Permutation, PermutationKey, are_within

ALGORITHM = "ettin-pcg64dxsm-v1"

# From here on numpy draws 64-bit numbers, and uint32 cannot hold every sample.
_TOO_MANY = 2**32
# sha256 of the permutation of 1,000 samples with seed 21, as little-endian uint32.
_CHECK_SEED, _CHECK_SAMPLES = 21, 1000
_CHECK_SHA256 = "b659ae5b00dcf676c40fff9c20dcd16e978b466c6ec79937e305884ff551b57d"
# Samples read back at a time while the inverse is made: 4 MiB.
_BLOCK = 1 << 20


def pcg64dxsm_permutation(num_samples: int, *, seed: int, epoch: int) -> Uint32Array:
    """Return `ettin-pcg64dxsm-v1`: uint32 [num_samples], the sample at each position.

    numpy's PCG64DXSM, seeded `seed + epoch`, shuffles 0 … num_samples - 1.

    Source: orionw/bert24, `src/text_data.py`, DistributedSamplerPCG64DXSM.
    Raises: InternalError when this numpy does not reproduce the frozen vector; ConfigError for too
    many samples for the algorithm or for memory.
    """
    if num_samples >= _TOO_MANY:
        raise ConfigError(
            f"order: got {num_samples:,} samples, expected fewer than {_TOO_MANY:,} "
            f"with {ALGORITHM}",
            "take fewer samples, or set order.algorithm to feistel-v1",
        )
    vector = _shuffle(_CHECK_SAMPLES, _CHECK_SEED).astype("<u4")
    if sha256_bytes(vector.data) != _CHECK_SHA256:
        raise InternalError(
            f"order: numpy {np.__version__} makes another permutation than {ALGORITHM}",
            "install the numpy that pyproject.toml names, and report this",
        )
    try:
        return _shuffle(num_samples, seed + epoch)
    except MemoryError as error:
        raise ConfigError(
            f"order: got too little memory for {num_samples:,} samples, expected "
            f"{4 * num_samples / 2**30:.1f} GiB with {ALGORITHM}",
            "use a larger machine, or set order.algorithm to feistel-v1, which needs none",
        ) from error


def _shuffle(num_samples: int, seed: int) -> Uint32Array:
    samples = np.arange(num_samples, dtype=np.uint32)
    np.random.Generator(np.random.PCG64DXSM(seed)).shuffle(samples)
    return samples


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedPermutation(Permutation):
    """A permutation and its inverse on disk, memory-mapped."""

    rows: Uint32Array
    """uint32 [num_samples], the sample at each position."""
    inverse: Uint32Array
    """uint32 [num_samples], the position of each sample."""

    def samples(self, start: int, stop: int) -> Int64Array:
        assert 0 <= start <= stop <= len(self.rows)
        return self.rows[start:stop].astype(np.int64)

    def positions(self, start: int, stop: int) -> Int64Array:
        assert 0 <= start <= stop <= len(self.inverse)
        return self.inverse[start:stop].astype(np.int64)

    def samples_at(self, positions: Int64Array) -> Int64Array:
        assert are_within(positions, len(self.rows))
        return self.rows[positions].astype(np.int64)

    def positions_of(self, samples: Int64Array) -> Int64Array:
        assert are_within(samples, len(self.inverse))
        return self.inverse[samples].astype(np.int64)


def save(key: PermutationKey, folder: Path, scratch: Path) -> None:
    """Publish the permutation and its inverse in one file, unless an intact one is there.

    Raises: as `pcg64dxsm_permutation`; OutputError when the disk is full.
    """
    path = _path(key, folder)
    beside = path.with_suffix(".blake3")
    # Hashing takes a hundredth of the time of making it.
    with suppress(OSError):
        if beside.read_bytes() == _digest(path).encode():
            return
    samples = pcg64dxsm_permutation(key.num_samples, seed=key.seed, epoch=key.epoch)
    with publish(path, scratch) as temporary, temporary.open("w+b") as file:
        about = {"descr": "<u4", "fortran_order": False, "shape": (2, key.num_samples)}
        np.lib.format.write_array_header_1_0(file, about)
        start = file.tell()
        file.write(samples.astype("<u4", copy=False).data)
        file.seek(start)
        file.write(_invert(file, samples).astype("<u4", copy=False).data)
        file.flush()
        digest = _digest(temporary)
    with publish(beside, scratch) as temporary:
        temporary.write_text(digest)


def load(key: PermutationKey, folder: Path) -> SavedPermutation:
    rows, inverse = load_array(_path(key, folder))
    return SavedPermutation(rows=rows, inverse=inverse)


def _path(key: PermutationKey, folder: Path) -> Path:
    # Only the sum of seed and epoch matters.
    return folder / f"{ALGORITHM}-{key.num_samples}-{key.seed + key.epoch}.npy"


def _digest(path: Path) -> str:
    return blake3().update_mmap(path).hexdigest()


def _invert(file: BinaryIO, memory: Uint32Array) -> Uint32Array:
    """Return the inverse of the permutation that follows in a file, in the given memory.

    Blocks are read, not mapped: mapped pages would count as memory of the process.
    """
    for start in range(0, len(memory), _BLOCK):
        stop = min(start + _BLOCK, len(memory))
        samples = np.frombuffer(file.read(4 * (stop - start)), "<u4")
        memory[samples] = np.arange(start, stop, dtype=np.uint32)
    return memory
