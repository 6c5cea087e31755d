"""Order: the published vectors, numpy's own permutation as the oracle, and a guard that fires."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import QUICK

from pipeline.errors import DefectError
from pipeline.orders import pcg64dxsm
from pipeline.orders.pcg64dxsm import permutation


def digest(num_samples: int) -> str:
    samples = permutation(num_samples, seed=21, epoch=0)
    return hashlib.sha256(samples.astype("<i8").tobytes()).hexdigest()


def test_the_published_orders() -> None:
    assert permutation(10, seed=21, epoch=0).tolist() == [8, 2, 3, 0, 4, 6, 1, 9, 7, 5]
    first = permutation(1_000, seed=21, epoch=0)[:10].tolist()
    assert first == [234, 157, 513, 6, 554, 660, 884, 323, 275, 416]
    assert digest(1_000).startswith("f67bbf154d5edadb")
    first = permutation(100_000, seed=21, epoch=0)[:5].tolist()
    assert first == [12634, 20552, 24550, 18877, 19606]
    assert digest(100_000).startswith("0aee7ee7ebc4221e")


@pytest.mark.parametrize("num_samples", [0, 1, 2, 3, 255, 256, 257, 65_537, 300_000])
@pytest.mark.parametrize("seed", [0, 21, 2**32 - 1])
def test_the_order_is_numpys_permutation(num_samples: int, seed: int) -> None:
    expected = np.random.Generator(np.random.PCG64DXSM(seed)).permutation(num_samples)
    found = permutation(num_samples, seed=seed, epoch=0)
    assert found.dtype == np.uint32
    assert np.array_equal(found, expected)


def naive(num_samples: int, seed: int) -> list[int]:
    """Shuffle by the words of the generator, low half first, masked and rejected."""
    raw = np.random.PCG64DXSM(seed)
    halves: list[int] = []
    samples = list(range(num_samples))
    for last in range(num_samples - 1, 0, -1):
        mask = (1 << last.bit_length()) - 1
        while True:
            if not halves:
                word = int(raw.random_raw())
                halves += [word & 0xFFFFFFFF, word >> 32]
            place = halves.pop(0) & mask
            if place <= last:
                break
        samples[last], samples[place] = samples[place], samples[last]
    return samples


@QUICK
@given(num_samples=st.integers(0, 2_000), seed=st.integers(0, 2**32 - 1))
def test_the_order_is_a_bijection_by_the_described_draws(num_samples: int, seed: int) -> None:
    found = permutation(num_samples, seed=seed, epoch=0).tolist()
    assert sorted(found) == list(range(num_samples))
    assert found == naive(num_samples, seed)


def test_an_epoch_is_added_to_the_seed_as_published() -> None:
    one = permutation(1_000, seed=21, epoch=2)
    assert np.array_equal(one, permutation(1_000, seed=23, epoch=0))
    assert not np.array_equal(one, permutation(1_000, seed=21, epoch=0))


def test_a_numpy_that_draws_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # Another generator stands for another numpy.
    monkeypatch.setattr(np.random, "PCG64DXSM", np.random.PCG64)
    with pytest.raises(DefectError) as raised:
        permutation(10, seed=21, epoch=0)
    assert raised.value.message == (
        f"order: numpy {np.__version__} draws another permutation than ettin-pcg64dxsm-v1"
    )
    assert raised.value.exit_code == 1


def test_the_guard_checks_before_any_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcg64dxsm, "_CHECK_SHA256", "0" * 64)
    with pytest.raises(DefectError, match="install the numpy that pyproject"):
        permutation(0, seed=21, epoch=0)
