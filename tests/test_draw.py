"""Sampling: draws are exact, frozen, and know neither the order of files nor of workers."""

from fractions import Fraction
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import QUICK

from pipeline.errors import MixtureError
from pipeline.records import Int64Array
from pipeline.sample import draw, rows_to_write, target_tokens
from pipeline.seeds import key, numbers

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
    found = draw("books", arrays(lengths), num_tokens, seed)
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
        for position, number in enumerate(numbers(key(seed, "sample", "books", name), len(own)))
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
    one = draw("books", lengths, 100, 1)["a"]
    assert not np.array_equal(one, draw("books", lengths, 100, 2)["a"])
    assert not np.array_equal(one, draw("wiki", lengths, 100, 1)["a"])


def test_a_larger_budget_keeps_what_a_smaller_one_drew() -> None:
    before: set[int] = set()
    for num_tokens in range(0, 101, 10):
        now = set(drawn({"a": [1] * 100}, num_tokens)["a"])
        assert before <= now
        assert len(now) == num_tokens
        before = now


@pytest.mark.parametrize(
    ("tokens", "epochs", "expected"),
    [
        ("all", None, (1, 0)),
        (None, None, (1, 0)),
        (100, None, (1, 0)),
        (99, None, (0, 99)),
        (1, None, (0, 1)),
        (None, Fraction(1), (1, 0)),
        (None, Fraction(2), (2, 0)),
        (None, Fraction(5, 2), (2, 50)),
        (None, Fraction(1, 3), (0, 33)),
        (None, Fraction(299, 100), (2, 99)),
        (None, Fraction(7, 1000), (0, 0)),
    ],
)
def test_repetitions_and_rest_in_whole_tokens(
    tokens: Literal["all"] | int | None, epochs: Fraction | None, expected: tuple[int, int]
) -> None:
    assert target_tokens("s", 100, tokens, epochs) == expected


@QUICK
@given(available=st.integers(1, 10**15), epochs=st.fractions(0, 50))
def test_epochs_lose_less_than_one_token(available: int, epochs: Fraction) -> None:
    whole, rest = target_tokens("s", available, None, epochs)
    assert 0 <= rest < available
    assert 0 <= epochs * available - (whole * available + rest) < 1


@QUICK
@given(available=st.integers(1, 10**13), more=st.integers(1, 10**13))
def test_the_epochs_that_a_refusal_offers_give_the_budget_exactly(
    available: int, more: int
) -> None:
    with pytest.raises(MixtureError) as raised:
        target_tokens("s", available, available + more, None)
    offered = str(raised.value.hint).split("`")[1].removeprefix("epochs: ")
    whole, rest = target_tokens("s", available, None, Fraction(offered))
    assert whole * available + rest == available + more


def test_a_budget_beyond_the_source_is_refused() -> None:
    with pytest.raises(MixtureError) as raised:
        target_tokens("books", 9_100_000, 12_400_000, None)
    assert raised.value.message == ("sources.books.tokens: needs 12,400,000 tokens, has 9,100,000")
    assert raised.value.hint == (
        "lower the budget to 9,100,000, or repeat the source with "
        "`epochs: 12400000/9100000` in place of `tokens`"
    )


def test_a_budget_over_nothing_offers_no_epochs() -> None:
    with pytest.raises(MixtureError) as raised:
        target_tokens("books", 0, 5, None)
    assert raised.value.message == "sources.books.tokens: needs 5 tokens, has 0"
    assert raised.value.hint == "give the source files with documents in them, or leave it out"


def test_rows_are_written_repetition_by_repetition_and_then_the_drawn() -> None:
    chosen = np.array([True, False, True])
    assert rows_to_write(2, chosen).tolist() == [0, 1, 2, 0, 1, 2, 0, 2]
    assert rows_to_write(0, chosen).tolist() == [0, 2]
    assert rows_to_write(1, np.zeros(0, np.bool_)).tolist() == []
