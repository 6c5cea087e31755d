"""Draws: rules that take of each partition what the plain algorithms take of all together."""

from fractions import Fraction
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.plain_choices import plain_keyed, sample_chunks
from support.strategies import QUICK

from pipeline.core import bins
from pipeline.core.bins import Last
from pipeline.core.seeds import random_numbers
from pipeline.runner import threshold
from pipeline.stages.sampling import draws
from pipeline.stages.sampling.draws import (
    draw_keyed,
    draw_longest_first,
    draw_partitions,
    in_sequence,
)

pools = st.dictionaries(
    st.text("abcxyz_0", min_size=1, max_size=4),
    st.lists(st.integers(1, 50), max_size=30),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("few", [0, 5, bins.FEW])
def test_rules_take_what_the_plain_form_takes(monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(bins, "FEW", few)
    monkeypatch.setattr(threshold, "_PARTITIONS_AT_ONCE", 2)
    monkeypatch.setattr(threshold, "_ROWS_AT_ONCE", 20)

    @QUICK
    @given(pool=pools, part=st.fractions(0, 1), seed=st.integers(0, 2**32 - 1))
    def check(pool: dict[str, list[int]], part: Fraction, seed: int) -> None:
        lengths = {name: np.array(own, np.int64) for name, own in pool.items()}
        num_tokens = int(part * sum(map(sum, pool.values())))
        found = sample_chunks("books", lengths, num_tokens, seed)
        plain = plain_keyed("books", lengths, num_tokens, seed)
        assert found.keys() == plain.keys()
        for name, taken in found.items():
            assert np.array_equal(taken, plain[name])

    check()


def test_of_equal_numbers_those_of_earlier_partitions_and_positions_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        draws, "random_numbers", lambda key, count: np.arange(count, dtype="u8") % 3
    )
    last = Last(number=1, part=1, position=4, is_largest=False)
    rules = draw_keyed("books", ["a", "b", "c"], 21, last)
    lengths = np.ones(8, np.int64)
    taken = {name: np.flatnonzero(rule.taken(lengths)).tolist() for name, rule in rules.items()}
    assert taken == {"a": [0, 1, 3, 4, 6, 7], "b": [0, 1, 3, 4, 6], "c": [0, 3, 6]}


def test_a_key_gives_each_chunk_of_a_partition_another_number() -> None:
    assert len(np.unique(random_numbers(7, 100_000))) == 100_000


def test_a_rule_is_a_few_numbers_whatever_the_size() -> None:
    rules = draw_longest_first({"a": 10**12, "b": 10**12, "c": 5}, 10**12 + 7, ["b"])
    assert [(name, rule.num_tokens) for name, rule in rules.items()] == [
        ("b", 10**12 + 7),
        ("a", 7),
        ("c", 0),
    ]


def plain_partitions(tokens: dict[str, int], num_tokens: int, seed: int) -> set[str]:
    """Choose by `ettin-partitions-v1` as it was written first."""
    left, generator, chosen, total = sorted(tokens), Random(seed), set[str](), 0
    while total < num_tokens:
        name = left.pop(generator.choice(range(len(left))))
        chosen.add(name)
        total += tokens[name]
    return chosen


@QUICK
@given(
    tokens=st.dictionaries(st.text("abcxyz_0", min_size=1), st.integers(0, 50), min_size=1),
    part=st.fractions(0, 1),
    seed=st.integers(0, 2**64),
)
def test_the_first_of_the_sequence_are_those_that_are_chosen_of_all(
    tokens: dict[str, int], part: Fraction, seed: int
) -> None:
    num_tokens = int(part * sum(tokens.values()))
    sequence = [*in_sequence(tokens, seed)]
    assert sorted(sequence) == sorted(tokens)
    assert sequence == [*in_sequence(reversed(tokens), seed)]
    expected = plain_partitions(tokens, num_tokens, seed)
    assert {*sequence[: len(expected)]} == expected
    reached = {name: tokens[name] for name in sequence[: len(expected)]}
    for known in (tokens, reached):
        draws = draw_partitions(known, num_tokens, sequence)
        assert [*draws] == sorted(known)
        assert {name for name, draw in draws.items() if draw.is_taken} == expected


def test_the_sequence_is_frozen() -> None:
    names = [f"part_{number:02d}" for number in range(12)]
    assert (
        " ".join(name[5:] for name in in_sequence(names, 42))
        == "10 01 00 06 05 03 04 02 07 11 09 08"
    )
