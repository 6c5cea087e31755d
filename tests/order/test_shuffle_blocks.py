"""Shuffles in blocks: numpy's own shuffle as the oracle, and memory that does not grow."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.core.arrays import Uint32Array, Uint64Array
from pipeline.core.errors import OutputError
from pipeline.order.permutation import shuffle_blocks
from pipeline.order.permutation.shuffle_blocks import write_shuffle


def shuffled(folder: Path, num_samples: int, seed: int) -> Uint32Array:
    path = folder / "both"
    with path.open("wb") as file:
        file.write(b"head")
        write_shuffle(file, num_samples, seed, folder / "scratch")
    assert not list((folder / "scratch").iterdir())
    both: Uint32Array = np.fromfile(path, "<u4", offset=4).reshape(2, num_samples)
    return both


def check(both: Uint32Array, seed: int) -> None:
    num_samples = both.shape[1]
    expected = np.random.Generator(np.random.PCG64DXSM(seed)).permutation(num_samples)
    assert np.array_equal(both[0], expected)
    assert np.array_equal(both[1], np.argsort(expected))


@QUICK
@given(
    num_samples=st.integers(0, 200),
    seed=st.integers(0, 2**32 - 1),
    block=st.sampled_from([8, 32, 256]),
    pairs_at_once=st.integers(1, 300).map(lambda half: 2 * half),
)
def test_blocks_of_any_size_give_numpys_permutation_and_its_inverse(
    tmp_path: Path, num_samples: int, seed: int, block: int, pairs_at_once: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffle_blocks, "BLOCK", block)
        patch.setattr(shuffle_blocks, "_PAIRS_AT_ONCE", pairs_at_once)
        check(shuffled(tmp_path, num_samples, seed), seed)


@pytest.mark.parametrize("num_samples", [65_536, 65_537, 300_000])
def test_many_draws_a_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_samples: int
) -> None:
    monkeypatch.setattr(shuffle_blocks, "BLOCK", 1 << 14)
    monkeypatch.setattr(shuffle_blocks, "_PAIRS_AT_ONCE", 1 << 12)
    check(shuffled(tmp_path, num_samples, 21), 21)


def test_memory_does_not_grow_with_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shuffle_blocks, "BLOCK", 1 << 14)
    monkeypatch.setattr(shuffle_blocks, "_PAIRS_AT_ONCE", 1 << 13)
    shuffled(tmp_path, 100_000, 21)
    peaks = []
    for num_samples in (150_000, 450_000):
        tracemalloc.start()
        try:
            with (tmp_path / "both").open("wb") as file:
                write_shuffle(file, num_samples, 21, tmp_path / "scratch")
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[1] < 600_000


def test_a_bucket_that_lost_pairs_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shuffle_blocks, "BLOCK", 64)
    follow = shuffle_blocks._follow

    def cut(*given: object) -> object:
        for path in (tmp_path / "scratch").glob("*/draws/000003"):
            path.write_bytes(path.read_bytes()[:-8])
        return follow(*given)

    monkeypatch.setattr(shuffle_blocks, "_follow", cut)
    with pytest.raises(OutputError) as raised:
        shuffled(tmp_path, 256, 21)
    assert "000003: got damaged work of an unfinished run: got " in raised.value.message
    assert raised.value.hint == "run the same command again: what is damaged is made again"


def test_pairs_of_all_kinds_take_eight_bytes_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shuffle_blocks, "BLOCK", 1 << 12)
    monkeypatch.setattr(shuffle_blocks, "_PAIRS_AT_ONCE", 1 << 10)
    real, held = shuffle_blocks._Buckets.add, [0]

    def add(buckets: shuffle_blocks._Buckets, pairs: Uint64Array) -> None:
        real(buckets, pairs)
        held.append(sum(path.stat().st_size for path in buckets.folder.parent.rglob("0*")))

    monkeypatch.setattr(shuffle_blocks._Buckets, "add", add)
    num_samples = 1 << 18
    shuffled(tmp_path, num_samples, 21)
    # A block that is being read is still there, and the first has the most draws.
    assert 7.5 * num_samples < max(held) < 8.6 * num_samples
