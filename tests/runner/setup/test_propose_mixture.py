"""Budgets, shares and batch sizes, by what sources have."""

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import Origin
from pipeline.runner.setup.file_groups import FileGroup
from pipeline.runner.setup.inspect_files import SourceFacts
from pipeline.runner.setup.propose_mixture import propose, split_shares
from pipeline.runner.setup.write_mixture import format_percent
from pipeline.sources import InputFile


def facts(
    name: str, tokens: int, *, rows: int = 1000, is_counted: bool = False, is_whole: bool = True
) -> SourceFacts:
    from pipeline.runner.setup.text_fields import Fields

    file = InputFile(
        path=Path("a.jsonl"), declared="a.jsonl", partition="a", kind=".jsonl", num_bytes=9
    )
    group = FileGroup(name=name, origin=Origin(path=("a.jsonl",)), files=(file,))
    return SourceFacts(
        group=group,
        fields=Fields(text="text", id="id"),
        num_tokens=tokens,
        num_rows=rows,
        is_counted=is_counted,
        is_whole=is_whole,
    )


@given(st.dictionaries(st.text(min_size=1), st.integers(1, 10**13), min_size=1, max_size=30))
def test_shares_are_whole_tenths_of_a_percent_and_sum_to_all(amounts: dict[str, int]) -> None:
    shares = split_shares(amounts)
    assert sum(shares.values()) == 1
    for name, share in shares.items():
        assert share * 1000 == int(share * 1000)
        assert abs(share - Fraction(amounts[name], sum(amounts.values()))) < Fraction(1, 1000)
        assert Fraction(format_percent(share)[:-1]) == share * 100


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=12), st.booleans(), st.booleans())
def test_no_source_has_to_be_repeated_for_a_budget(
    amounts: list[int], is_counted: bool, is_whole: bool
) -> None:
    sources = [
        facts(f"s{number}", amount, is_counted=is_counted, is_whole=is_whole or is_counted)
        for number, amount in enumerate(amounts)
    ]
    made = propose("m", sources)
    if made.tokens is None:
        assert made.shares == {}
        return
    assert sum(made.shares.values()) == 1
    assert len(made.shares) >= 2
    for one in sources:
        margin = Fraction(99 if is_counted else 95 if is_whole else 80, 100)
        assert made.shares.get(one.name, 0) * made.tokens <= margin * one.num_tokens
    # Most of what there is is used: a share of a percent is off by a tenth of it at most.
    assert made.tokens > Fraction(6, 10) * sum(amounts)


@pytest.mark.parametrize(
    ("amounts", "tokens", "shares"),
    [
        ([30_000_000, 10_000_000], 38_000_000, {"s0": "75%", "s1": "25%"}),
        ([30_000_000], None, {}),
        ([3_000, 1_000], None, {}),
        ([30_000_000, 10_000], None, {}),
        ([60_000_000, 40_000_000, 10_000], 95_000_000, {"s0": "60%", "s1": "40%"}),
    ],
)
def test_what_is_little_or_alone_is_taken_whole(
    amounts: list[int], tokens: int | None, shares: dict[str, str]
) -> None:
    made = propose("m", [facts(f"s{n}", amount) for n, amount in enumerate(amounts)])
    assert made.tokens == tokens
    assert {name: format_percent(share) for name, share in made.shares.items()} == shares


@pytest.mark.parametrize(("rows", "size"), [(1, 1), (99, 1), (250, 2), (1000, 8), (10**9, 1024)])
def test_steps_are_small_enough_that_little_is_dropped(rows: int, size: int) -> None:
    assert propose("m", [facts("s", 100, rows=rows)]).global_batch_size == size
    assert size == 1 or (size - 1) / rows < 0.01


def test_rows_are_those_of_the_budgets() -> None:
    made = propose("m", [facts("a", 30_000_000, rows=40_000), facts("b", 10_000_000, rows=10_000)])
    assert made.tokens == 38_000_000
    assert made.num_rows == 47_500
