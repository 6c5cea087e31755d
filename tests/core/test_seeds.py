"""Seeds: frozen keys and numbers; labels do not run into each other."""

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.core.seeds import derive_key, random_numbers

MASK = 2**64 - 1


def naive_number(key_: int, index: int) -> int:
    state = (key_ + (index + 1) * 0x9E3779B97F4A7C15) & MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def naive_key(seed: int, *labels: str) -> int:
    data = b""
    for part in (str(seed), *labels):
        data += len(part.encode()).to_bytes(8, "little") + part.encode()
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "little")


def test_numbers_are_those_of_splitmix64() -> None:
    # Vectors of the published generator from state 0.
    assert random_numbers(0, 5).tolist() == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
        0xF88BB8A8724C81EC,
        0x1B39896A51A8749B,
    ]
    assert random_numbers(0, 0).tolist() == []


def test_keys_are_frozen() -> None:
    assert derive_key(0) == 0x512AEEE4B9CB65AC
    assert derive_key(21, "sample", "books", "books_0001") == 0x294C1778D81BEB42
    assert derive_key(2**32 - 1, "") == 0xA21ACD60C428A1AC


@QUICK
@given(key_=st.integers(0, MASK), count=st.integers(0, 20))
def test_any_number_of_any_key(key_: int, count: int) -> None:
    found = random_numbers(key_, count)
    assert found.dtype == np.uint64
    assert found.tolist() == [naive_number(key_, index) for index in range(count)]


parts = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), max_size=3)


@QUICK
@given(one=parts, other=parts, seed=st.integers(0, 9))
def test_labels_do_not_collide(one: list[str], other: list[str], seed: int) -> None:
    assert derive_key(seed, *one) == naive_key(seed, *one)
    assert (derive_key(seed, *one) == derive_key(seed, *other)) == (one == other)


def test_a_seed_is_no_sum() -> None:
    keys = [
        derive_key(1, "11"),
        derive_key(11, "1"),
        derive_key(1, "1", "1"),
        derive_key(111),
        derive_key(1, "", "11"),
        derive_key(2, "10"),
    ]
    assert len(set(keys)) == len(keys)
