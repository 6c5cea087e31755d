"""The validation split: no text on both sides, the fraction met, nothing chosen by order."""

import hashlib
from fractions import Fraction
from math import ceil
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.plain_choices import choose_holdout, plain_holdout
from support.strategies import QUICK

from pipeline.core.arrays import BoolArray, Int64Array, Uint64Array
from pipeline.core.seeds import derive_key
from pipeline.stages.holdout import choose_first_chunks, held_chunks
from pipeline.stages.sampling import in_sequence

MASK = 2**64 - 1

Sources = dict[str, list[tuple[int, int]]]
"""Documents as (which text, tokens), by source."""


def digest(text: int) -> tuple[int, int]:
    """Return two words that stand for a text, some of them equal in one word."""
    data = hashlib.sha256(str(text).encode()).digest()
    return int.from_bytes(data[:8], "little") if text % 3 else 7, int.from_bytes(
        data[8:16], "little"
    )


def arrays(sources: Sources) -> tuple[dict[str, Uint64Array], dict[str, Int64Array]]:
    digests = {
        name: np.array([digest(text) for text, _ in own], np.uint64).reshape(-1, 2)
        for name, own in sources.items()
    }
    return digests, {name: np.array([n for _, n in own], np.int64) for name, own in sources.items()}


def chosen(sources: Sources, fraction: Fraction, seed: int = 21) -> dict[str, BoolArray]:
    return choose_holdout(*arrays(sources), fraction, seed)


def number(text: int, seed: int) -> int:
    """Return a text's number, spelled out."""
    state = derive_key(seed, "validation")
    for word in digest(text):
        state = ((state ^ word) + 0x9E3779B97F4A7C15) & MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
        state ^= state >> 31
    return state


def given_texts(documents: list[tuple[int, int]], fraction: Fraction, seed: int) -> set[int]:
    """Return the texts that a source gives, one after the other."""
    asked = ceil(fraction * sum(tokens for _, tokens in documents))
    given: set[int] = set()
    for text in sorted({text for text, _ in documents}, key=lambda one: number(one, seed))[:-1]:
        if sum(tokens for other, tokens in documents if other in given) >= asked:
            break
        given.add(text)
    return given


sources_of_documents = st.dictionaries(
    st.sampled_from(["books", "code", "wiki"]),
    st.lists(st.tuples(st.integers(0, 25), st.integers(0, 50)), max_size=20),
    min_size=1,
)
fractions = st.fractions(Fraction(1, 1000), 1)


def test_the_choice_is_frozen() -> None:
    documents = list(enumerate([5, 9, 3, 7, 4, 4, 8, 2]))
    found = {
        part: np.flatnonzero(chosen({"a": documents}, part)["a"]).tolist()
        for part in (Fraction(1, 1000), Fraction(1, 5), Fraction(1, 2), Fraction(1))
    }
    assert found == {
        Fraction(1, 1000): [0],
        Fraction(1, 5): [0, 5],
        Fraction(1, 2): [0, 1, 4, 5],
        Fraction(1): [0, 1, 3, 4, 5, 6, 7],
    }


@QUICK
@given(sources=sources_of_documents, fraction=fractions, seed=st.integers(0, 2**32 - 1))
def test_sources_give_texts_by_rising_number_and_all_documents_of_these_go(
    sources: Sources, fraction: Fraction, seed: int
) -> None:
    given = {name: given_texts(own, fraction, seed) for name, own in sources.items()}
    everywhere = set().union(*given.values())
    for name, found in chosen(sources, fraction, seed).items():
        own = sources[name]
        assert found.dtype == np.bool_
        assert found.tolist() == [text in everywhere for text, _ in own]


@QUICK
@given(sources=sources_of_documents, fraction=fractions)
def test_no_text_is_on_both_sides(sources: Sources, fraction: Fraction) -> None:
    sides: dict[bool, set[int]] = {False: set(), True: set()}
    for name, found in chosen(sources, fraction).items():
        for (text, _), is_chosen in zip(sources[name], found.tolist(), strict=True):
            sides[is_chosen].add(text)
    assert not sides[False] & sides[True]


@QUICK
@given(
    texts=st.lists(st.integers(1, 50), min_size=2, max_size=30),
    fraction=st.fractions(Fraction(1, 1000), Fraction(1, 2)),
)
def test_the_fraction_is_met_and_passed_by_less_than_one_document(
    texts: list[int], fraction: Fraction
) -> None:
    documents = list(enumerate(texts))
    found = chosen({"books": documents}, fraction)["books"]
    asked, tokens = ceil(fraction * sum(texts)), int(np.array(texts)[found].sum())
    assert found.any()
    if found.sum() == len(texts) - 1 and tokens < asked:
        return  # the last text stays in training
    last = max((text for text, _ in documents if found[text]), key=lambda text: number(text, 21))
    assert asked <= tokens < asked + texts[last]


@QUICK
@given(sources=sources_of_documents, fraction=fractions, data=st.data())
def test_neither_the_order_of_sources_nor_of_documents_changes_the_choice(
    sources: Sources, fraction: Fraction, data: st.DataObject
) -> None:
    before = chosen(sources, fraction)
    places = {name: data.draw(st.permutations(range(len(own)))) for name, own in sources.items()}
    names = data.draw(st.permutations(list(sources)))
    after = chosen({name: [sources[name][i] for i in places[name]] for name in names}, fraction)
    for name, found in after.items():
        assert found.tolist() == [before[name][i] for i in places[name]]


@pytest.mark.parametrize("fraction", [Fraction(1, 1000), Fraction(1, 2), Fraction(1)])
def test_a_source_keeps_its_last_text_for_training(fraction: Fraction) -> None:
    assert chosen({"one": [(1, 9)]}, fraction)["one"].sum() == 0
    assert chosen({"twins": [(1, 9), (1, 9)]}, fraction)["twins"].sum() == 0
    two = chosen({"two": [(1, 9), (2, 10_000), (1, 9)]}, fraction)["two"]
    assert len({(1, 2, 1)[i] for i in np.flatnonzero(two)}) == 1


def test_a_last_text_goes_where_another_source_gives_it() -> None:
    by_number = sorted(range(10), key=lambda text: number(text, 21))
    first = by_number[0]
    found = chosen({"one": [(first, 9)], "ten": [(text, 1) for text in range(10)]}, Fraction(1, 10))
    assert found["one"].tolist() == [True]
    assert np.flatnonzero(found["ten"]).tolist() == [first]


def test_a_source_without_tokens_gives_nothing() -> None:
    found = chosen(
        {"empty": [], "zeros": [(1, 0), (2, 0)], "rest": [(3, 5), (4, 5)]}, Fraction(1, 2)
    )
    assert [found[name].sum() for name in ("empty", "zeros", "rest")] == [0, 0, 1]


def test_other_seeds_choose_other_documents() -> None:
    documents = {"books": [(text, 1) for text in range(200)]}
    one, other = (chosen(documents, Fraction(1, 4), seed)["books"] for seed in (1, 2))
    assert one.sum() == other.sum() == 50
    assert not np.array_equal(one, other)


def test_a_larger_fraction_keeps_what_a_smaller_one_chose() -> None:
    documents = {"books": [(text, 1) for text in range(100)]}
    before = np.zeros(100, np.bool_)
    for percent in range(5, 100, 5):
        now = chosen(documents, Fraction(percent, 100))["books"]
        assert now.sum() == percent
        assert (now | ~before).all()
        before = now


@QUICK
@given(sources=sources_of_documents, fraction=fractions, seed=st.integers(0, 2**32 - 1))
def test_rules_hold_out_what_the_plain_form_does(
    sources: Sources, fraction: Fraction, seed: int
) -> None:
    found, plain = chosen(sources, fraction, seed), plain_holdout(*arrays(sources), fraction, seed)
    assert found.keys() == plain.keys()
    for name, held in found.items():
        assert np.array_equal(held, plain[name])


# ettin-validation-v1


def chosen_chunks(
    lengths: dict[str, list[int]], num_tokens: int, seed: int
) -> dict[str, BoolArray]:
    arrays = {name: np.array(own, np.int64) for name, own in lengths.items()}
    sums = {name: int(own.sum()) for name, own in arrays.items()}
    most = choose_first_chunks(sums, num_tokens, in_sequence(sums, seed))
    return {name: held_chunks(own, most[name]) for name, own in arrays.items()}


def first_chunks(lengths: dict[str, list[int]], num_tokens: int, seed: int) -> dict[str, list[int]]:
    """Return the chunks that are held out of each partition, one after the other."""
    held: dict[str, list[int]] = {name: [] for name in lengths}
    left, generator = sorted(lengths), Random(seed)
    while left:
        name = generator.choice(left)
        left.remove(name)
        for chunk, length in enumerate(lengths[name]):
            if length > num_tokens:
                return held
            held[name].append(chunk)
            num_tokens -= length
    return held


@QUICK
@given(
    lengths=st.dictionaries(
        st.sampled_from(["a", "b", "c_1", "c_2", "d"]), st.lists(st.integers(1, 9), max_size=6)
    ),
    num_tokens=st.integers(0, 60),
    seed=st.integers(0, 50),
)
def test_partitions_are_held_out_whole_and_of_one_the_first_chunks(
    lengths: dict[str, list[int]], num_tokens: int, seed: int
) -> None:
    made = chosen_chunks(lengths, num_tokens, seed)
    assert {name: len(mask) for name, mask in made.items()} == {
        name: len(own) for name, own in lengths.items()
    }
    expected = first_chunks(lengths, num_tokens, seed)
    assert {name: np.flatnonzero(mask).tolist() for name, mask in made.items()} == expected
    assert sum(lengths[name][chunk] for name in expected for chunk in expected[name]) <= num_tokens


def test_first_chunks_are_frozen() -> None:
    lengths = {f"p_{number:02d}": [number + 1] * 5 for number in range(26)}
    made = chosen_chunks(lengths, 200, seed=42)
    # In turn 20, 3, 0 and 10, which have 185 tokens, and of 9, whose chunks have 10, the first.
    held = {name: np.flatnonzero(mask).tolist() for name, mask in made.items() if mask.any()}
    every = [0, 1, 2, 3, 4]
    assert held == {"p_20": every, "p_03": every, "p_00": every, "p_10": every, "p_09": [0]}
