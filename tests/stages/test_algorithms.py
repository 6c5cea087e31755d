"""Draws are exact, frozen, and know neither the order of files nor of workers."""

from dataclasses import asdict
from fractions import Fraction
from random import Random
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.plain_choices import (
    sample_chunks,
    sample_longest_first,
    sample_partitions,
    sample_source,
)
from support.strategies import QUICK

from pipeline.config.sample import SourceSample
from pipeline.core.arrays import BoolArray, Int64Array
from pipeline.core.seeds import derive_key, random_numbers
from pipeline.stages.sampling.algorithms import (
    balance_of,
    longest_first,
    rows_to_write,
)
from pipeline.stages.sampling.budget import Ask

LENGTHS = {"b": [5, 9, 3, 7], "a": [4, 4, 8, 2, 6]}

pools = st.dictionaries(
    st.text("abcxyz_0", min_size=1, max_size=4),
    st.lists(st.integers(1, 50), max_size=12),
    min_size=1,
    max_size=5,
)


def arrays(lengths: dict[str, list[int]]) -> dict[str, Int64Array]:
    return {name: np.array(part, np.int64) for name, part in lengths.items()}


def drawn(lengths: dict[str, list[int]], num_tokens: int, seed: int = 21) -> dict[str, list[int]]:
    """Return the positions drawn, by partition."""
    found = sample_chunks("books", arrays(lengths), num_tokens, seed)
    return {name: np.flatnonzero(part).tolist() for name, part in found.items()}


@pytest.mark.parametrize(
    ("num_tokens", "expected"),
    [
        (0, {"a": [], "b": []}),
        (1, {"a": [4], "b": []}),
        (10, {"a": [4], "b": [3]}),
        (25, {"a": [0, 2, 4], "b": [3]}),
        (48, {"a": [0, 1, 2, 3, 4], "b": [0, 1, 2, 3]}),
    ],
)
def test_draws_are_frozen(num_tokens: int, expected: dict[str, list[int]]) -> None:
    assert drawn(LENGTHS, num_tokens) == expected


@QUICK
@given(lengths=pools, part=st.fractions(0, 1), seed=st.integers(0, 2**32 - 1))
def test_a_draw_is_the_shortest_run_of_rising_numbers_that_holds_the_budget(
    lengths: dict[str, list[int]], part: Fraction, seed: int
) -> None:
    num_tokens = int(part * sum(map(sum, lengths.values())))
    ranked = sorted(
        (number, name, position)
        for name, own in lengths.items()
        for position, number in enumerate(
            random_numbers(derive_key(seed, "sample", "books", name), len(own))
        )
    )
    expected: dict[str, list[int]] = {name: [] for name in lengths}
    total = last = 0
    for _, name, position in ranked:
        if total >= num_tokens:
            break
        last = lengths[name][position]
        total += last
        expected[name].append(position)
    assert drawn(lengths, num_tokens, seed) == {
        name: sorted(positions) for name, positions in expected.items()
    }
    assert num_tokens <= total < num_tokens + max(last, 1), "less than one chunk too many"


@QUICK
@given(lengths=pools, data=st.data())
def test_the_order_of_partitions_changes_nothing(
    lengths: dict[str, list[int]], data: st.DataObject
) -> None:
    num_tokens = data.draw(st.integers(0, sum(map(sum, lengths.values()))))
    turned = {name: lengths[name] for name in data.draw(st.permutations(list(lengths)))}
    assert drawn(turned, num_tokens) == drawn(lengths, num_tokens)


def test_other_seeds_and_sources_draw_otherwise() -> None:
    lengths = arrays({"a": [1] * 200})
    one = sample_chunks("books", lengths, 100, 1)["a"]
    assert not np.array_equal(one, sample_chunks("books", lengths, 100, 2)["a"])
    assert not np.array_equal(one, sample_chunks("wiki", lengths, 100, 1)["a"])


def test_a_larger_budget_keeps_what_a_smaller_one_drew() -> None:
    before: set[int] = set()
    for num_tokens in range(0, 101, 10):
        now = set(drawn({"a": [1] * 100}, num_tokens)["a"])
        assert before <= now
        assert len(now) == num_tokens
        before = now


def test_rows_are_written_repetition_by_repetition_and_then_the_drawn() -> None:
    chosen, order = np.array([True, False, True]), np.arange(3)
    assert rows_to_write(2, chosen, order).tolist() == [0, 1, 2, 0, 1, 2, 0, 2]
    assert rows_to_write(0, chosen, order).tolist() == [0, 2]
    assert rows_to_write(2, chosen, np.array([2, 1, 0])).tolist() == [2, 1, 0, 2, 1, 0, 2, 0]
    assert rows_to_write(1, np.zeros(0, np.bool_), np.arange(0)).tolist() == []


# Whole partitions


def chosen(lengths: dict[str, list[int]], num_tokens: int, seed: int = 42) -> list[str]:
    """Return the partitions that are drawn; the others have no chunk that is."""
    found = sample_partitions(arrays(lengths), num_tokens, seed)
    assert list(found) == sorted(lengths)
    for name, part in found.items():
        assert part.tolist() in ([True] * len(lengths[name]), [False] * len(lengths[name]))
    return [name for name, part in found.items() if part.any()]


def test_the_published_generator_is_pythons() -> None:
    """Vector: seed 42, five choices from a list of 26."""
    generator = Random(42)
    assert [generator.choice(range(26)) for _ in range(5)] == [20, 3, 0, 23, 8]


@pytest.mark.parametrize(
    ("num_tokens", "expected"),
    [(0, ""), (1, "u"), (2, "du"), (3, "adu"), (4, "adku"), (5, "adjku")],
)
def test_choices_of_partitions_are_frozen(num_tokens: int, expected: str) -> None:
    lengths = {letter: [1] for letter in "zyxwvutsrqponmlkjihgfedcba"}
    assert chosen(lengths, num_tokens) == list(expected)


def published_choice(lengths: dict[str, list[int]], num_tokens: int, seed: int) -> list[str]:
    """Choose as the published scripts do, but with the numbers of the generator spelled out."""
    generator, used = Random(seed), list[str]()
    while sum(sum(lengths[name]) for name in used) < num_tokens:
        left = [name for name in sorted(lengths) if name not in used]
        position = len(left)
        while position >= len(left):
            position = generator.getrandbits(len(left).bit_length())
        used.append(left[position])
    return used


@QUICK
@given(lengths=pools, part=st.fractions(0, 1), seed=st.integers(0, 2**32 - 1))
def test_partitions_are_chosen_as_published_until_the_budget_is_met(
    lengths: dict[str, list[int]], part: Fraction, seed: int
) -> None:
    num_tokens = int(part * sum(map(sum, lengths.values())))
    expected = published_choice(lengths, num_tokens, seed)
    turned = dict(reversed(lengths.items()))
    assert chosen(turned, num_tokens, seed) == sorted(name for name in expected if lengths[name])
    total = sum(sum(lengths[name]) for name in expected)
    last = sum(lengths[expected[-1]]) if expected else 0
    assert num_tokens <= total < num_tokens + max(last, 1), "less than one partition too many"


# The longest chunks first, one partition after the other

LONG = {
    "wiki_0001": [8000, 300, 7999, 7000, 8000, 999, 1000],
    "wiki_0000": [999, 8000, 7500, 1500, 7001],
}


def taken(num_tokens: int, *first: str) -> dict[str, list[int]]:
    """Return the chunks that are taken of each partition, in the order in which they are."""
    lengths = arrays(LONG)
    found = sample_longest_first(lengths, num_tokens, first)
    rows = {
        name: rows_to_write(0, part, longest_first(lengths[name])).tolist()
        for name, part in found.items()
    }
    return {name: part for name, part in rows.items() if part}


@pytest.mark.parametrize(
    ("num_tokens", "first", "expected"),
    [
        (0, "", {}),
        (1, "", {"wiki_0000": [1]}),
        (8000, "", {"wiki_0000": [1]}),
        (8001, "", {"wiki_0000": [1, 2]}),
        (22_502, "", {"wiki_0000": [1, 2, 4, 3]}),
        (25_001, "", {"wiki_0000": [1, 2, 4, 3, 0], "wiki_0001": [0]}),
        (25_001 - 1, "", {"wiki_0000": [1, 2, 4, 3, 0]}),
        (8001, "wiki_0001", {"wiki_0001": [0, 4]}),
        (33_298, "wiki_0001", {"wiki_0001": [0, 4, 2, 3, 6, 1, 5]}),
        (33_299, "wiki_0001", {"wiki_0000": [1], "wiki_0001": [0, 4, 2, 3, 6, 1, 5]}),
        (58_298, "", {"wiki_0000": [1, 2, 4, 3, 0], "wiki_0001": [0, 4, 2, 3, 6, 1, 5]}),
    ],
)
def test_what_is_taken_longest_first_is_frozen(
    num_tokens: int, first: str, expected: dict[str, list[int]]
) -> None:
    """Vectors. Below 8,000 ids the bin is length // 1000; in a bin the file's order stays."""
    assert taken(num_tokens, *first.split()) == expected


def plainly_taken(
    lengths: dict[str, list[int]], num_tokens: int, first: tuple[str, ...]
) -> list[tuple[str, int]]:
    """Take chunk after chunk, as the published numbers of rows say."""
    found, total = [], 0
    names = list(first) + [name for name in sorted(lengths) if name not in first]
    for name in names:
        bins: dict[int, list[int]] = {}
        for position, length in enumerate(lengths[name]):
            bins.setdefault(length // 1000, []).append(position)
        for thousands in sorted(bins, reverse=True):
            for position in bins[thousands]:
                if total >= num_tokens:
                    return found
                found.append((name, position))
                total += lengths[name][position]
    return found


@QUICK
@given(
    lengths=st.dictionaries(
        st.sampled_from("abcde"), st.lists(st.integers(1, 9500), max_size=15), min_size=1
    ),
    part=st.fractions(0, 1),
    data=st.data(),
)
def test_the_longest_are_taken_first_as_the_plain_form_does(
    lengths: dict[str, list[int]], part: Fraction, data: st.DataObject
) -> None:
    num_tokens = int(part * sum(map(sum, lengths.values())))
    first = tuple(data.draw(st.lists(st.sampled_from(sorted(lengths)), unique=True)))
    turned = {name: lengths[name] for name in data.draw(st.permutations(list(lengths)))}
    found = sample_longest_first(arrays(turned), num_tokens, first)
    assert found.keys() == lengths.keys()
    plain = plainly_taken(lengths, num_tokens, first)
    for name, chosen in found.items():
        order = longest_first(np.array(lengths[name], np.int64))
        rows = rows_to_write(0, chosen, order).tolist()
        assert rows == [position for one, position in plain if one == name]
    total = sum(lengths[name][position] for name, position in plain)
    last = lengths[plain[-1][0]][plain[-1][1]] if plain else 0
    assert num_tokens <= total < num_tokens + max(last, 1), "less than one chunk too many"


def test_what_is_repeated_is_longest_first_each_time() -> None:
    sample = SourceSample(algorithm="ettin-longest-first-v1", first=("wiki_0001",))
    lengths = arrays(LONG)
    available = sum(int(part.sum()) for part in lengths.values())
    whole, again = sample_source(ask_for(available + 8001, most=2), lengths, sample)
    assert whole == 1
    rows = {
        name: rows_to_write(whole, part, longest_first(lengths[name])).tolist()
        for name, part in again.items()
    }
    assert rows == {"wiki_0001": [0, 4, 2, 3, 6, 1, 5, 0, 4], "wiki_0000": [1, 2, 4, 3, 0]}


# A source's whole draw


def ask_for(tokens: int | None = None, epochs: Fraction | None = None, most: int = 1) -> Ask:
    return Ask(
        source="books",
        key="epochs" if tokens is None else "tokens",
        tokens=tokens,
        epochs=epochs,
        max_repetition=Fraction(most),
        scale=Fraction(1),
    )


def written(
    lengths: dict[str, list[int]], num_repetitions: int, again: dict[str, BoolArray]
) -> int:
    """Return how many tokens the rows to write come to."""
    return sum(
        lengths[name][row]
        for name, part in again.items()
        for row in rows_to_write(num_repetitions, part, np.arange(len(part)))
    )


@pytest.mark.parametrize(
    ("asked", "repetitions", "again", "balance"),
    [
        (ask_for(10), 0, {"a": [4], "b": [3]}, (10, 48, 0, 13, 0, 3)),
        (ask_for(48), 1, {"a": [], "b": []}, (48, 48, 1, 48, 0, 0)),
        (ask_for(58, most=2), 1, {"a": [4], "b": [3]}, (58, 48, 1, 61, 13, 3)),
        (ask_for(96, most=2), 2, {"a": [], "b": []}, (96, 48, 2, 96, 48, 0)),
        (ask_for(epochs=Fraction(1)), 1, {"a": [], "b": []}, (48, 48, 1, 48, 0, 0)),
        (ask_for(epochs=Fraction(5, 24)), 0, {"a": [4], "b": [3]}, (10, 48, 0, 13, 0, 3)),
        (ask_for(epochs=Fraction(29, 24)), 1, {"a": [4], "b": [3]}, (58, 48, 1, 61, 13, 3)),
    ],
)
def test_repetitions_are_whole_first_and_the_rest_is_drawn_by_the_same_rule(
    asked: Ask, repetitions: int, again: dict[str, list[int]], balance: tuple[int, ...]
) -> None:
    found = sample_source(asked, arrays(LENGTHS), SourceSample(seed=21))
    assert found[0] == repetitions
    assert {name: np.flatnonzero(part).tolist() for name, part in found[1].items()} == again
    names = ("asked", "available", "num_repetitions", "drawn", "repeated", "overshoot")
    told = balance_of(asked, 48, written(LENGTHS, *found))
    assert asdict(told) == dict(zip(names, balance, strict=True))


def test_a_source_is_drawn_from_by_the_algorithm_that_is_named() -> None:
    lengths = arrays({letter: [1, 2] for letter in "abcdefghijklmnopqrstuvwxyz"})
    sample = SourceSample(algorithm="ettin-partitions-v1", seed=42)
    asked = ask_for(78 + 7, most=2)
    num_repetitions, again = sample_source(asked, lengths, sample)
    assert num_repetitions == 1
    assert [name for name, part in again.items() if part.all()] == ["a", "d", "u"]
    assert sum(int(part.sum()) for part in again.values()) == 6
    drawn = 78 + sum(int(lengths[name][part].sum()) for name, part in again.items())
    assert (drawn, balance_of(asked, 78, drawn).overshoot) == (78 + 9, 2)


@QUICK
@given(
    lengths=pools,
    multiple=st.fractions(Fraction(1, 100), 5),
    is_number=st.booleans(),
    algorithm=st.sampled_from(["keyed-v1", "ettin-longest-first-v1", "ettin-partitions-v1"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_accounts_close_over_what_is_written(
    lengths: dict[str, list[int]],
    multiple: Fraction,
    is_number: bool,
    algorithm: Literal["keyed-v1", "ettin-longest-first-v1", "ettin-partitions-v1"],
    seed: int,
) -> None:
    available = sum(map(sum, lengths.values()))
    number = int(multiple * available)
    asked = ask_for(number, most=5) if is_number and number else ask_for(epochs=multiple)
    found = sample_source(asked, arrays(lengths), SourceSample(algorithm=algorithm, seed=seed))
    num_repetitions, again = found
    balance = balance_of(asked, available, written(lengths, *found))
    assert balance.asked == number
    assert balance.available == available
    assert balance.drawn == written(lengths, *found) == balance.asked + balance.overshoot
    once = sum(
        size
        for name, part in again.items()
        for size, is_again in zip(lengths[name], part, strict=True)
        if num_repetitions or is_again
    )
    assert balance.repeated == balance.drawn - once
    largest = max((sum(part) for part in lengths.values()), default=0)
    if algorithm != "ettin-partitions-v1":
        largest = max((size for part in lengths.values() for size in part), default=0)
    assert 0 <= balance.overshoot < max(largest, 1)
