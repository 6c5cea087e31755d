"""The order: one global sequence of a phase's samples, from a named algorithm.

Enters: the number of samples, a seed and an epoch. Leaves: the permutation, position to sample. It
knows nothing of ranks or steps, so world size never touches it.
"""

import hashlib

import numpy as np

from pipeline.errors import DefectError
from pipeline.records import Uint32Array

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
