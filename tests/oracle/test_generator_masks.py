"""Masks drawn from a generator, as the reference packer draws them: a loop is the oracle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from oracle.generator_masks import mask, mask_generator
from pipeline.core.errors import InternalError
from pipeline.feed.masks import IGNORED


def test_masks_are_the_frozen_vector() -> None:
    bins = np.arange(10, 34).reshape(2, 12)
    bins[1, 9:] = 3
    inputs, labels = mask(bins, mask_generator(20, 1), mask_prob=0.5, mask_id=4, pad_id=3)
    assert inputs.tolist() == [
        [10, 11, 12, 4, 14, 15, 27, 4, 18, 19, 4, 21],
        # The last three are padding, of which one becomes a random id and one MASK.
        [22, 4, 24, 25, 4, 4, 28, 4, 21, 3, 14, 4],
    ]
    none = IGNORED
    assert labels.tolist() == [
        [none, none, none, 13, none, none, 16, 17, none, none, 20, none],
        [none, 23, none, none, 26, 27, none, 29, 30, none, none, none],
    ]


@QUICK
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 40)),
    mask_prob=st.sampled_from([0.0, 0.15, 0.3, 1.0]),
    seed=st.integers(0, 1000),
)
def test_masks_are_those_of_the_loop(shape: tuple[int, int], mask_prob: float, seed: int) -> None:
    bins = np.random.default_rng(seed + 1).integers(5, 12, shape)
    inputs, labels = mask(bins, mask_generator(seed, 0), mask_prob=mask_prob, mask_id=4, pad_id=5)
    generator = np.random.default_rng(seed)
    uniform = generator.random(shape)
    masked = [[4 if u < mask_prob * 0.8 else one for u, one in zip(us, row, strict=True)]
              for us, row in zip(uniform, bins.tolist(), strict=True)]  # fmt: skip
    random_ids = generator.integers(0, max(map(max, masked)) + 1, size=shape)
    for place, u in np.ndenumerate(uniform):
        is_random = mask_prob * 0.8 <= u < mask_prob * 0.9
        assert inputs[place] == (random_ids[place] if is_random else masked[place[0]][place[1]])
        is_label = u < mask_prob and bins[place] != 5
        assert labels[place] == (bins[place] if is_label else IGNORED)


def test_a_numpy_that_draws_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(seed: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64DXSM(seed))

    monkeypatch.setattr(np.random, "default_rng", other)
    with pytest.raises(InternalError, match="draws other masks than greedy-best-fit-v1"):
        mask_generator(21, 0)
