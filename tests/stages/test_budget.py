"""Budgets: whole tokens that add up at any scale, and refusals whose ways out are ways out."""

import re
from collections.abc import Mapping
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.config.declaration import OrderSpec
from pipeline.config.mixture import ChunkSpec, Mixture
from pipeline.config.source import Origin, Source
from pipeline.core.errors import ConfigError
from pipeline.stages.sampling.algorithms import choose_files
from pipeline.stages.sampling.budget import (
    Ask,
    budgets,
    check_feasible,
    check_reachable,
    of_part,
    repetitions,
)

ONE = Fraction(1)

# Tokens of the published pre-training mixture, in units of 0.1B.
PUBLISHED = {
    "algebraic_stack": 126, "arxiv": 280, "books": 53, "cc_head": 3566, "cc_news": 73, "dclm": 8372,
    "open_web_math": 127, "pes2o": 573, "reddit": 803, "stackexchange": 196, "starcoder": 2639,
    "tulu_flan": 166, "wikipedia": 73,
}  # fmt: skip


def mixture(sources: Mapping[str, Mapping[str, Any]], scale: Fraction = ONE) -> Mixture:
    return Mixture(
        name="m",
        scale=scale,
        chunk=ChunkSpec(size=1024),
        sources=tuple(
            Source(name=name, origin=Origin(path=("*.jsonl",)), **declared)
            for name, declared in sources.items()
        ),
        order=OrderSpec(seed=1, global_batch_size=8, max_seq_len=1024),
        folder=Path(),
    )


def ask_for(tokens: int, most: Fraction = ONE, scale: Fraction = ONE, source: str = "books") -> Ask:
    return Ask(
        source=source, key="tokens", tokens=tokens, epochs=None, max_repetition=most, scale=scale
    )


# What is asked for


def test_without_a_scale_sources_are_asked_for_what_they_declare() -> None:
    found = budgets(
        mixture(
            {
                "all": {"tokens": "all", "expected": 5},
                "nothing": {},
                "epochs": {"epochs": Fraction(5, 2), "expected": 7},
                "tokens": {"tokens": 9, "max_repetition": 3},
            }
        )
    )
    assert {name: (ask.tokens, ask.epochs, ask.key) for name, ask in found.items()} == {
        "all": (None, 1, "epochs"),
        "nothing": (None, 1, "epochs"),
        "epochs": (None, Fraction(5, 2), "epochs"),
        "tokens": (9, None, "tokens"),
    }
    assert found["tokens"].max_repetition == 3
    assert [name for name, ask in found.items() if ask.is_whole] == ["all", "nothing"]


def test_a_scale_takes_budgets_and_what_is_expected_in_whole_tokens() -> None:
    found = budgets(
        mixture(
            {
                "all": {"tokens": "all", "expected": 3_650_000_000},
                "epochs": {"epochs": Fraction(2), "expected": 7_300_000_000},
                "half": {"epochs": Fraction(1, 2), "expected": 1_000_000},
                "open": {"epochs": Fraction(2)},
                "rest": {},
                "tokens": {"tokens": 837_200_000_000, "max_repetition": 3},
            },
            Fraction(1, 1_000_000),
        )
    )
    numbers = {name: ask.tokens for name, ask in found.items() if ask.tokens is not None}
    assert numbers == {"all": 3650, "epochs": 7300, "half": 1, "tokens": 837_200}
    assert {name: ask.epochs for name, ask in found.items() if ask.epochs is not None} == {
        "open": Fraction(2, 1_000_000),
        "rest": Fraction(1, 1_000_000),
    }
    assert [found[name].max_repetition for name in ("all", "epochs", "half", "tokens")] == [
        1, 2, 1, 3,
    ]  # fmt: skip
    assert {found[name].key for name in ("all", "epochs", "half")} == {"expected"}


def test_the_published_mixture_scales_to_a_sum_to_the_token() -> None:
    sources = {name: {"tokens": tenths * 10**8} for name, tenths in PUBLISHED.items()}
    found = budgets(mixture(sources, Fraction(1, 10**8 * 7)))
    assert {name: ask.tokens for name, ask in found.items()} == {
        "algebraic_stack": 18, "arxiv": 40, "books": 8, "cc_head": 509, "cc_news": 10, "dclm": 1196,
        "open_web_math": 18, "pes2o": 82, "reddit": 115, "stackexchange": 28, "starcoder": 377,
        "tulu_flan": 24, "wikipedia": 10,
    }  # fmt: skip
    # 1704.7B / 700M is 2435.29.
    assert sum(ask.tokens or 0 for ask in found.values()) == 2435


@QUICK
@given(
    declared=st.dictionaries(
        st.sampled_from("abcdefgh"), st.integers(1, 10**13), min_size=1, max_size=8
    ),
    scale=st.fractions(Fraction(1, 10**9), 1000),
)
def test_scaled_budgets_sum_exactly_and_each_is_next_to_its_part(
    declared: dict[str, int], scale: Fraction
) -> None:
    asks = budgets(mixture({name: {"tokens": n} for name, n in declared.items()}, scale))
    found = {name: ask.tokens or 0 for name, ask in asks.items()}
    exact = {name: number * scale for name, number in declared.items()}
    total = floor(sum(exact.values()) + Fraction(1, 2))
    assert sum(found.values()) == max(total, len(declared))
    assert min(found.values()) >= 1
    if min(exact.values()) >= 1:
        assert all(abs(found[name] - exact[name]) < 1 for name in found)
    # Those of less than one token take from the largest alone.
    assert all(found[name] < exact[name] + 1 for name in found)
    small = sum(number < 1 for number in exact.values())
    assert all(found[name] > exact[name] - 1 - small for name in found)


def test_equal_remainders_go_to_the_first_name_and_listing_order_changes_nothing() -> None:
    half = Fraction(1, 2)
    for names in ("abcd", "dcba"):
        found = budgets(mixture({name: {"tokens": 5} for name in names}, half))
        assert {name: ask.tokens for name, ask in found.items()} == {"a": 3, "b": 3, "c": 2, "d": 2}


def test_a_multiple_is_drawn_from_a_part_as_much_as_from_all() -> None:
    [whole] = budgets(mixture({"s": {"epochs": Fraction(3, 2)}}, Fraction(1, 100))).values()
    part = of_part(whole, 250, 1000)
    assert part.epochs == Fraction(6, 100)
    assert part.epochs * 250 == Fraction(3, 2) * Fraction(1, 100) * 1000
    assert of_part(whole, 1000, 1000) == whole
    number = ask_for(7)
    assert of_part(number, 250, 1000) == number


# How often


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (ONE, (1, 0)),
        (Fraction(2), (2, 0)),
        (Fraction(5, 2), (2, 50)),
        (Fraction(1, 3), (0, 33)),
        (Fraction(299, 100), (2, 99)),
        (Fraction(7, 1000), (0, 0)),
    ],
)
def test_epochs_are_repetitions_and_a_rest_in_whole_tokens(
    epochs: Fraction, expected: tuple[int, int]
) -> None:
    [ask] = budgets(mixture({"s": {"epochs": epochs}})).values()
    assert repetitions(ask, 100) == expected


@pytest.mark.parametrize(
    ("tokens", "most", "expected"),
    [
        (1, ONE, (0, 1)),
        (99, ONE, (0, 99)),
        (100, ONE, (1, 0)),
        (101, Fraction(2), (1, 1)),
        (200, Fraction(2), (2, 0)),
        (250, Fraction(5, 2), (2, 50)),
    ],
)
def test_a_budget_above_what_there_is_repeats_it_up_to_what_is_allowed(
    tokens: int, most: Fraction, expected: tuple[int, int]
) -> None:
    assert repetitions(ask_for(tokens, most), 100) == expected


@QUICK
@given(available=st.integers(1, 10**15), epochs=st.fractions(Fraction(1, 10**6), 50))
def test_epochs_lose_less_than_one_token(available: int, epochs: Fraction) -> None:
    [ask] = budgets(mixture({"s": {"epochs": epochs}})).values()
    whole, rest = repetitions(ask, available)
    assert 0 <= rest < available
    assert 0 <= epochs * available - (whole * available + rest) < 1


# What cannot be


def refusal(ask: Ask, available: int) -> tuple[str, str | None]:
    with pytest.raises(ConfigError) as raised:
        repetitions(ask, available)
    return raised.value.message, raised.value.hint


def test_a_budget_beyond_the_source_is_refused_with_both_ways_out() -> None:
    assert refusal(ask_for(12_400_000), 9_100_000) == (
        "sources.books.tokens: needs 12,400,000 tokens, has 9,100,000 at max_repetition 1",
        "raise sources.books.max_repetition to 2, or lower sources.books.tokens to 9,100,000",
    )
    assert refusal(ask_for(12_400_000, Fraction(2)), 4_550_000) == (
        "sources.books.tokens: needs 12,400,000 tokens, has 9,100,000 at max_repetition 2",
        "raise sources.books.max_repetition to 3, or lower sources.books.tokens to 9,100,000",
    )


def test_a_refusal_at_a_scale_speaks_in_the_numbers_of_the_mixture() -> None:
    found = budgets(mixture({"wiki": {"epochs": Fraction(2), "expected": 7300}}, Fraction(1, 10)))
    assert refusal(found["wiki"], 303) == (
        "sources.wiki.expected: needs 730 tokens at scale 1/10, has 606 at epochs 2",
        "raise sources.wiki.epochs to 3, or lower sources.wiki.expected to 6,060",
    )


def test_more_repetitions_than_a_mixture_may_say_are_not_offered() -> None:
    assert refusal(ask_for(1001), 1)[1] == "lower sources.books.tokens to 1"
    assert refusal(ask_for(1000), 1)[1] == (
        "raise sources.books.max_repetition to 1,000, or lower sources.books.tokens to 1"
    )


def test_a_budget_over_nothing_has_one_way_out() -> None:
    assert refusal(ask_for(5), 0) == (
        "sources.books.tokens: needs 5 tokens, has 0",
        "give sources.books files with documents in them",
    )


@QUICK
@given(
    available=st.integers(1, 10**12),
    beyond=st.integers(1, 10**13),
    most=st.integers(1, 20),
    scale=st.sampled_from([ONE, Fraction(1, 3), Fraction(1, 10**6), Fraction(7, 2)]),
)
def test_both_ways_out_lead_out(available: int, beyond: int, most: int, scale: Fraction) -> None:
    declared = floor((available * most + 1) / scale) + beyond
    [ask] = budgets(mixture({"s": {"tokens": declared, "max_repetition": most}}, scale)).values()
    assert ask.tokens is not None
    if ask.tokens <= available * most:
        return  # the scale has swallowed what was beyond
    _, hint = refusal(ask, available)
    offered = [
        int(number.replace(",", "")) for number in re.findall(r" to ([0-9,]*[0-9])", hint or "")
    ]
    assert len(offered) == (hint or "").count("raise") + (hint or "").count("lower")
    if "lower" not in (hint or ""):
        return  # at a scale above 1 even one token may be too much
    lowered = offered[-1]
    [lower] = budgets(mixture({"s": {"tokens": lowered, "max_repetition": most}}, scale)).values()
    repetitions(lower, available)
    [higher] = budgets(
        mixture({"s": {"tokens": lowered + 1 + int(1 / scale), "max_repetition": most}}, scale)
    ).values()
    assert (higher.tokens or 0) > available * most, "no more was to be had"
    if len(offered) == 2:
        repetitions(ask_for(ask.tokens, Fraction(offered[0])), available)
        with pytest.raises(ConfigError):
            repetitions(ask_for(ask.tokens, Fraction(offered[0] - 1)), available)


def test_all_budgets_beyond_what_was_counted_are_refused_together_with_what_was_lost() -> None:
    wiki = ask_for(6, source="wiki")
    with pytest.raises(ConfigError) as raised:
        check_reachable(
            [(ask_for(11), 10, "dropped 1 of 2 documents: bad 1"), (wiki, 6, ""), (wiki, 5, "")]
        )
    assert raised.value.message == (
        "sources.books.tokens: needs 11 tokens, has 10 at max_repetition 1"
        " (dropped 1 of 2 documents: bad 1)\n"
        "sources.wiki.tokens: needs 6 tokens, has 5 at max_repetition 1"
    )
    assert (raised.value.hint or "").count("; ") == 1


# Before any work


def test_budgets_that_no_text_of_these_sizes_meets_are_refused_together() -> None:
    asks = {
        "books": ask_for(3001),
        "code": ask_for(25_000, Fraction(2), source="code"),
        "wiki": ask_for(5001, source="wiki"),
    }
    files = {
        "books": [("a.jsonl", 600), ("b.txt", 300), ("c.mds", 100)],
        "code": [("a.json.gz", 1000), ("b.parquet", 1000), ("c.jsonl.zst", 500)],
        "wiki": [("a.mds.zstd", 1000)],
    }
    with pytest.raises(ConfigError) as raised:
        check_feasible(asks, files)
    assert raised.value.message == (
        "sources.books.tokens: needs 3,001 tokens, has at most 3,000 at max_repetition 1\n"
        "sources.wiki.tokens: needs 5,001 tokens, has at most 5,000 at max_repetition 1"
    )
    assert raised.value.hint == (
        "raise sources.books.max_repetition to 2 or more, or lower sources.books.tokens to 3,000 "
        "or less; "
        "raise sources.wiki.max_repetition to 2 or more, or lower sources.wiki.tokens to 5,000 or "
        "less"
    )


def test_files_of_no_bytes_have_nothing() -> None:
    with pytest.raises(ConfigError, match=r"^sources\.books\.tokens: needs 5 tokens, has 0\n"):
        check_feasible({"books": ask_for(5)}, {"books": [("a.jsonl", 0)]})


def test_multiples_and_budgets_that_may_be_met_pass() -> None:
    [multiple] = budgets(mixture({"open": {"epochs": Fraction(9)}})).values()
    asks = {"open": multiple, "books": ask_for(3000)}
    check_feasible(asks, {"open": [("a.txt", 0)], "books": [("a.jsonl", 1000)]})


# The files of a miniature


FILES = [(f"data/part-{i:02d}.jsonl.zst", 100 + 17 * i % 50) for i in range(10)]


@pytest.mark.parametrize(
    ("scale", "seed", "source", "expected"),
    [
        (Fraction(1, 1000), 21, "books", [1]),
        (Fraction(1, 10), 21, "books", [1, 7]),
        (Fraction(1, 5), 21, "books", [1, 4, 6, 7, 9]),
        (Fraction(2, 5), 21, "books", [0, 1, 2, 4, 5, 6, 7, 8, 9]),
        (Fraction(1, 2), 21, "books", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (Fraction(1, 10), 22, "books", [1, 5]),
        (Fraction(1, 10), 21, "wiki", [2, 9]),
        (Fraction(1), 21, "books", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (Fraction(7, 2), 21, "books", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ],
)
def test_choices_of_files_are_frozen(
    scale: Fraction, seed: int, source: str, expected: list[int]
) -> None:
    assert choose_files(FILES, scale, seed, source) == expected


@QUICK
@given(
    sizes=st.lists(st.integers(0, 1000), min_size=1, max_size=12),
    scales=st.tuples(*[st.fractions(Fraction(1, 10**6), 1)] * 2),
    data=st.data(),
)
def test_files_of_a_miniature_hold_twice_their_part_and_no_file_more(
    sizes: list[int], scales: tuple[Fraction, Fraction], data: st.DataObject
) -> None:
    files = [(f"f{number}", size) for number, size in enumerate(sizes)]
    scale = min(scales)
    smaller, larger = (choose_files(files, one, 3, "s") for one in (scale, max(scales)))
    assert smaller
    assert smaller == sorted(set(smaller))
    assert set(smaller) <= set(larger), "a larger miniature has all files of a smaller one"
    chosen = [sizes[index] for index in smaller]
    needed = 2 * scale * sum(sizes)
    assert sum(chosen) >= needed or len(chosen) == len(sizes)
    if len(chosen) > 1 and scale < 1:
        assert any(sum(chosen) - size < needed for size in chosen)
    turned = data.draw(st.permutations(files))
    again = choose_files(turned, scale, 3, "s")
    assert {turned[index] for index in again} == {files[index] for index in smaller}
