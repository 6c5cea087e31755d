"""Orders: published vectors, numpy's own permutation as the oracle, and files that are whole."""

import hashlib
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.config.declaration import OrderSpec
from pipeline.core.errors import ConfigError, InternalError
from pipeline.order.permutation import (
    ALGORITHMS,
    load_permutation,
    pcg64dxsm,
    save_permutation,
    shuffle_blocks,
)
from pipeline.order.permutation.key import PermutationKey
from pipeline.order.permutation.pcg64dxsm import pcg64dxsm_permutation


def digest(num_samples: int) -> str:
    samples = pcg64dxsm_permutation(num_samples, seed=21, epoch=0)
    return hashlib.sha256(samples.astype("<i8").tobytes()).hexdigest()


def test_the_published_orders() -> None:
    assert pcg64dxsm_permutation(10, seed=21, epoch=0).tolist() == [8, 2, 3, 0, 4, 6, 1, 9, 7, 5]
    first = pcg64dxsm_permutation(1_000, seed=21, epoch=0)[:10].tolist()
    assert first == [234, 157, 513, 6, 554, 660, 884, 323, 275, 416]
    assert digest(1_000).startswith("f67bbf154d5edadb")
    first = pcg64dxsm_permutation(100_000, seed=21, epoch=0)[:5].tolist()
    assert first == [12634, 20552, 24550, 18877, 19606]
    assert digest(100_000).startswith("0aee7ee7ebc4221e")


@pytest.mark.parametrize("num_samples", [0, 1, 2, 3, 255, 256, 257, 65_537, 300_000])
@pytest.mark.parametrize("seed", [0, 21, 2**32 - 1])
def test_the_order_is_numpys_permutation(num_samples: int, seed: int) -> None:
    expected = np.random.Generator(np.random.PCG64DXSM(seed)).permutation(num_samples)
    found = pcg64dxsm_permutation(num_samples, seed=seed, epoch=0)
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
    found = pcg64dxsm_permutation(num_samples, seed=seed, epoch=0).tolist()
    assert sorted(found) == list(range(num_samples))
    assert found == naive(num_samples, seed)


def test_an_epoch_is_added_to_the_seed_as_published() -> None:
    one = pcg64dxsm_permutation(1_000, seed=21, epoch=2)
    assert np.array_equal(one, pcg64dxsm_permutation(1_000, seed=23, epoch=0))
    assert not np.array_equal(one, pcg64dxsm_permutation(1_000, seed=21, epoch=0))


def test_a_numpy_that_draws_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # Another generator stands for another numpy.
    monkeypatch.setattr(np.random, "PCG64DXSM", np.random.PCG64)
    with pytest.raises(InternalError) as raised:
        pcg64dxsm_permutation(10, seed=21, epoch=0)
    assert raised.value.message == (
        f"order: numpy {np.__version__} makes another permutation than ettin-pcg64dxsm-v1"
    )
    assert raised.value.exit_code == 70


def test_the_guard_checks_before_any_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcg64dxsm, "_CHECK_SHA256", "0" * 64)
    with pytest.raises(InternalError, match="install the numpy that pyproject"):
        pcg64dxsm_permutation(0, seed=21, epoch=0)


# The file


def pcg(num_samples: int, seed: int = 21, epoch: int = 0) -> PermutationKey:
    return PermutationKey(
        algorithm="ettin-pcg64dxsm-v1", num_samples=num_samples, seed=seed, epoch=epoch
    )


@pytest.mark.parametrize("block", [4, 64, 1 << 20])
@pytest.mark.parametrize("num_samples", [0, 1, 2, 1_000])
def test_a_saved_order_is_the_permutation_and_its_inverse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_samples: int, block: int
) -> None:
    monkeypatch.setattr(shuffle_blocks, "BLOCK", block)
    save_permutation(pcg(num_samples), tmp_path, tmp_path / "scratch")
    order = load_permutation(pcg(num_samples), tmp_path)
    samples = pcg64dxsm_permutation(num_samples, seed=21, epoch=0)
    assert np.array_equal(order.samples(0, num_samples), samples)
    assert np.array_equal(order.positions(0, num_samples), np.argsort(samples))


def test_an_order_is_one_file_with_its_digest_and_nothing_else(tmp_path: Path) -> None:
    save_permutation(pcg(1_000), tmp_path, tmp_path / "scratch")
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert [path.name for path in files] == [
        "ettin-pcg64dxsm-v1-1000-21.blake3",
        "ettin-pcg64dxsm-v1-1000-21.npy",
    ]
    both = np.load(files[1])
    assert (both.dtype, both.shape) == (np.uint32, (2, 1_000))


def test_reading_an_order_leaves_nothing_of_it_mapped(tmp_path: Path) -> None:
    num_samples = 4_000_000
    save_permutation(pcg(num_samples), tmp_path, tmp_path / "scratch")
    order = load_permutation(pcg(num_samples), tmp_path)
    some = np.arange(0, num_samples, 1_000)
    order.samples(0, 10)
    before = mapped_bytes()
    order.samples(0, num_samples)
    order.positions(0, num_samples)
    order.samples_at(some)
    order.positions_of(some)
    assert mapped_bytes() - before < 1 << 20


def mapped_bytes() -> int:
    """Return the pages of files that this process has mapped, in bytes."""
    (line,) = (
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("RssFile")
    )
    return 1024 * int(line.split()[1])


def test_what_stands_is_kept_and_another_key_is_another_order(tmp_path: Path) -> None:
    keys = [pcg(100), pcg(100, seed=22), pcg(101), pcg(100, epoch=2)]
    for key in keys:
        save_permutation(key, tmp_path, tmp_path / "scratch")
    made = {path: path.stat().st_ino for path in tmp_path.glob("*.npy")}
    assert len(made) == len(keys)
    for key in keys:
        save_permutation(key, tmp_path, tmp_path / "scratch")
        expected = pcg64dxsm_permutation(key.num_samples, seed=key.seed, epoch=key.epoch)
        assert np.array_equal(load_permutation(key, tmp_path).samples(0, key.num_samples), expected)
    assert {path: path.stat().st_ino for path in tmp_path.glob("*.npy")} == made


@pytest.mark.parametrize("damage", ["cut", "emptied", "other"])
def test_a_file_that_is_not_whole_is_made_again(tmp_path: Path, damage: str) -> None:
    save_permutation(pcg(1_000), tmp_path, tmp_path / "scratch")
    (file,) = tmp_path.glob("*.npy")
    whole = file.read_bytes()
    if damage == "other":
        np.save(file, np.zeros((2, 999), np.uint32))
    else:
        file.write_bytes(whole[: len(whole) - 1 if damage == "cut" else 0])
    save_permutation(pcg(1_000), tmp_path, tmp_path / "scratch")
    assert file.read_bytes() == whole


KILLED = """\
import os, sys
from pathlib import Path
from pipeline.order import PermutationKey
from pipeline.order.permutation import pcg64dxsm, shuffle_blocks
place = Path(sys.argv[1])
key = PermutationKey(algorithm="ettin-pcg64dxsm-v1", num_samples=5_000, seed=21, epoch=0)
shuffle_blocks.BLOCK = 1 << 10
write = shuffle_blocks.write_shuffle
def die(file, *about):
    if sys.argv[2] == "later":
        write(file, *about)
    file.flush()
    os._exit(9)
shuffle_blocks.write_shuffle = die
pcg64dxsm.save(key, place, place / "scratch")
"""


@pytest.mark.parametrize("when", ["half", "later"])
def test_a_killed_save_leaves_nothing_that_passes(tmp_path: Path, when: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), when], check=False)
    assert done.returncode == 9
    assert any((tmp_path / "scratch").iterdir())
    assert not list(tmp_path.glob("*.npy"))
    save_permutation(pcg(5_000), tmp_path, tmp_path / "scratch")
    expected = pcg64dxsm_permutation(5_000, seed=21, epoch=0)
    assert np.array_equal(load_permutation(pcg(5_000), tmp_path).samples(0, 5_000), expected)


def test_more_samples_than_32_bits_can_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        save_permutation(pcg(2**32), tmp_path, tmp_path / "scratch")
    assert raised.value.message == (
        "order: got 4,294,967,296 samples, expected fewer than 4,294,967,296 "
        "with ettin-pcg64dxsm-v1"
    )
    assert raised.value.hint == "take fewer samples, or set order.algorithm to feistel-v1"
    assert not list(tmp_path.rglob("*.npy"))


# What holds of every algorithm


@QUICK
@given(
    algorithm=st.sampled_from(sorted(ALGORITHMS)), num_samples=st.integers(0, 400), data=st.data()
)
def test_every_order_is_a_bijection_that_any_part_agrees_with(
    tmp_path: Path, algorithm: str, num_samples: int, data: st.DataObject
) -> None:
    seed, epoch = data.draw(st.integers(0, 2**32 - 1)), data.draw(st.integers(0, 2**31 - 1))
    key = PermutationKey(algorithm=algorithm, num_samples=num_samples, seed=seed, epoch=epoch)
    save_permutation(key, tmp_path, tmp_path / "scratch")
    order = load_permutation(key, tmp_path)
    samples = order.samples(0, num_samples)
    assert samples.dtype == np.int64
    assert sorted(samples.tolist()) == list(range(num_samples))
    start = data.draw(st.integers(0, num_samples))
    stop = data.draw(st.integers(start, num_samples))
    assert np.array_equal(order.samples(start, stop), samples[start:stop])
    assert np.array_equal(order.positions(start, stop), np.argsort(samples)[start:stop])
    some = np.array(
        data.draw(st.lists(st.integers(0, num_samples - 1), max_size=9)) if num_samples else [],
        np.int64,
    )
    assert np.array_equal(order.samples_at(some), samples[some])
    assert np.array_equal(order.positions_of(samples[some]), some)


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_what_lies_outside_the_order_must_not_be_asked_for(tmp_path: Path, algorithm: str) -> None:
    key = PermutationKey(algorithm=algorithm, num_samples=10, seed=1, epoch=0)
    save_permutation(key, tmp_path, tmp_path / "scratch")
    order = load_permutation(key, tmp_path)
    for ask in (order.samples, order.positions):
        for start, stop in ((-1, 2), (5, 11), (10, 12)):
            with pytest.raises(AssertionError):
                ask(start, stop)
    for look_up in (order.samples_at, order.positions_of):
        for place in (-1, 10):
            with pytest.raises(AssertionError):
                look_up(np.array([place]))


def test_the_mixture_knows_every_algorithm() -> None:
    (choice,) = [field for field in fields(OrderSpec) if field.name == "algorithm"]
    assert sorted(get_args(get_type_hints(OrderSpec)["algorithm"])) == sorted(ALGORITHMS)
    assert choice.default == "feistel-v1"
