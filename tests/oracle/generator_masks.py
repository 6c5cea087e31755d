"""Masking of packed bins, as the reference packer does it: two draws of one generator a batch.

Enters: bins of ids. Leaves: what the model reads, and the labels that it is to predict. Belongs to
`greedy-best-fit-v1`; a decoder's bins are not masked and draw nothing.

Source: orionw/bert24, `src/sequence_packer.py`, SequencePacker; see `docs/spec/packing.md`.
"""

import numpy as np

from pipeline.core.arrays import Int64Array
from pipeline.core.errors import InternalError
from pipeline.feed.masks import IGNORED

# What the generator of seed 21 draws: uniform numbers, then integers below 50,285.
_CHECK_SEED = 21
_CHECK_UNIFORM = [0.781117588817471, 0.605847029570968]
_CHECK_INTEGERS = [23435, 35692, 17300, 4480]


def mask_generator(seed: int, epoch: int) -> np.random.Generator:
    """Return the generator of one epoch's masks: the same on every rank, as in the reference.

    Raises: InternalError when this numpy draws otherwise than the frozen vector.
    """
    check = np.random.default_rng(_CHECK_SEED)
    uniform, integers = check.random(2).tolist(), check.integers(0, 50_285, size=4).tolist()
    if uniform != _CHECK_UNIFORM or integers != _CHECK_INTEGERS:
        raise InternalError(
            f"packing: numpy {np.__version__} draws other masks than greedy-best-fit-v1",
            "install the numpy that pyproject.toml names, and report this",
        )
    return np.random.default_rng(epoch + seed)


def mask(
    bins: Int64Array, generator: np.random.Generator, *, mask_prob: float, mask_id: int, pad_id: int
) -> tuple[Int64Array, Int64Array]:
    """Return inputs and labels: both int64 [num_bins, capacity].

    The first draw, a uniform number for each position, decides: below 0.8 of `mask_prob` the id
    becomes MASK, below 0.9 a random id, below `mask_prob` it stays; it is a label in all three.
    The second draw, an integer for each position, gives the random ids; it goes up to the largest
    id among the bins after the MASKs were put in. CLS, SEP and padding are not spared: padding may
    be overwritten, but is never a label.
    """
    uniform = generator.random(bins.shape)
    is_masked = uniform < mask_prob * 0.8
    is_random = ~is_masked & (uniform < mask_prob * 0.9)
    labels = np.where((uniform < mask_prob) & (bins != pad_id), bins, np.int64(IGNORED))
    inputs = np.where(is_masked, np.int64(mask_id), bins)
    random_ids = generator.integers(0, inputs.max() + 1, size=bins.shape)
    return np.where(is_random, random_ids, inputs), labels
