"""`ettin-pcg64dxsm-v1`: the permutation of the published sampler, saved once and mapped afterwards.

numpy itself shuffles what fits in a block of memory; more is shuffled through disk, by
`shuffle_blocks`, with the same draws.
"""

from contextlib import suppress
from dataclasses import dataclass
from mmap import MADV_DONTNEED, mmap
from pathlib import Path
from typing import BinaryIO

import numpy as np
from blake3 import blake3

from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.core.digest import sha256_bytes
from pipeline.core.errors import ConfigError, InternalError
from pipeline.core.files import load_array, publish
from pipeline.core.mirrored import here
from pipeline.order.permutation import shuffle_blocks
from pipeline.order.permutation.key import Permutation, PermutationKey, are_within

ALGORITHM = "ettin-pcg64dxsm-v1"

# From here on numpy draws 64-bit numbers, and uint32 cannot hold every sample.
_TOO_MANY = 2**32
# sha256 of the permutation of 1,000 samples with seed 21, as little-endian uint32.
_CHECK_SEED, _CHECK_SAMPLES = 21, 1000
_CHECK_SHA256 = "b659ae5b00dcf676c40fff9c20dcd16e978b466c6ec79937e305884ff551b57d"
# Bytes hashed at a time.
_BYTES_AT_ONCE = 8 << 20
# Look-ups at a time; each may map 64 KiB.
_LOOK_UPS_AT_ONCE = 1024


def pcg64dxsm_permutation(num_samples: int, *, seed: int, epoch: int) -> Uint32Array:
    """Return `ettin-pcg64dxsm-v1`: uint32 [num_samples], the sample at each position.

    numpy's PCG64DXSM, seeded `seed + epoch`, shuffles 0 … num_samples - 1, in 4 bytes of memory a
    sample.

    Source: orionw/bert24, `src/text_data.py`, DistributedSamplerPCG64DXSM.
    Raises: InternalError when this numpy does not reproduce the frozen vector; ConfigError for too
    many samples for the algorithm.
    """
    _check(num_samples)
    return _shuffle(num_samples, seed + epoch)


def _check(num_samples: int) -> None:
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


def _shuffle(num_samples: int, seed: int) -> Uint32Array:
    samples = np.arange(num_samples, dtype=np.uint32)
    np.random.Generator(np.random.PCG64DXSM(seed)).shuffle(samples)
    return samples


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedPermutation(Permutation):
    """A permutation and its inverse on disk, memory-mapped.

    What a call has read is unmapped again, since mapped pages count as memory of the process.
    """

    both: Uint32Array
    """uint32 [2, num_samples], the sample at each position, and the position of each sample."""

    def samples(self, start: int, stop: int) -> Int64Array:
        return self._read(0, start, stop)

    def positions(self, start: int, stop: int) -> Int64Array:
        return self._read(1, start, stop)

    def samples_at(self, positions: Int64Array) -> Int64Array:
        return self._look_up(0, positions)

    def positions_of(self, samples: Int64Array) -> Int64Array:
        return self._look_up(1, samples)

    def _read(self, half: int, start: int, stop: int) -> Int64Array:
        assert 0 <= start <= stop <= self.both.shape[1]
        numbers = self.both[half, start:stop].astype(np.int64)
        self._unmap()
        return numbers

    def _look_up(self, half: int, places: Int64Array) -> Int64Array:
        assert are_within(places, self.both.shape[1])
        numbers = np.empty(len(places), np.int64)
        for start in range(0, len(places), _LOOK_UPS_AT_ONCE):
            part = slice(start, start + _LOOK_UPS_AT_ONCE)
            numbers[part] = self.both[half, places[part]]
            self._unmap()
        return numbers

    def _unmap(self) -> None:
        assert isinstance(self.both.base, mmap)
        self.both.base.madvise(MADV_DONTNEED)


def save(key: PermutationKey, folder: Path, scratch: Path) -> None:
    """Publish the permutation and its inverse in one file, unless an intact one is there.

    Raises: as `pcg64dxsm_permutation`; OutputError when the disk is full.
    """
    path = _path(key, folder)
    beside = path.with_suffix(".blake3")
    # Hashing takes a hundredth of the time of making it.
    with suppress(OSError):
        if here(beside).read_bytes() == _digest(path).encode():
            return
    _check(key.num_samples)
    with publish(path, scratch) as temporary:
        with temporary.open("wb") as file:
            about = {"descr": "<u4", "fortran_order": False, "shape": (2, key.num_samples)}
            np.lib.format.write_array_header_1_0(file, about)
            _write(file, key, scratch)
        digest = _digest(temporary)
    with publish(beside, scratch) as temporary:
        temporary.write_text(digest)


def _write(file: BinaryIO, key: PermutationKey, scratch: Path) -> None:
    seed = key.seed + key.epoch
    if key.num_samples > shuffle_blocks.BLOCK:
        shuffle_blocks.write_shuffle(file, key.num_samples, seed, scratch)
        return
    samples = _shuffle(key.num_samples, seed)
    inverse = np.empty_like(samples)
    inverse[samples] = np.arange(key.num_samples, dtype=np.uint32)
    for half in (samples, inverse):
        file.write(half.astype("<u4", copy=False).data)


def load(key: PermutationKey, folder: Path) -> SavedPermutation:
    return SavedPermutation(both=load_array(_path(key, folder)))


def file_name(key: PermutationKey) -> str:
    # Only the sum of seed and epoch matters.
    return f"{ALGORITHM}-{key.num_samples}-{key.seed + key.epoch}.npy"


def _path(key: PermutationKey, folder: Path) -> Path:
    return folder / file_name(key)


def _digest(path: Path) -> str:
    hasher = blake3()
    with here(path).open("rb") as file:
        while block := file.read(_BYTES_AT_ONCE):
            hasher.update(block)
    return hasher.hexdigest()
