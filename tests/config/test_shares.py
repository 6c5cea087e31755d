"""Shares of one total: exact, complete, and the same mixture as the tokens that they come to."""

from collections.abc import Mapping
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.mixtures import problems, read

from pipeline.config.shares import _rescaled, format_share
from pipeline.core.errors import ConfigError
from pipeline.stages.sampling.budget import budgets, check_reachable


def mixture_text(budgets: Mapping[str, str], tokens: str | None = "1000") -> str:
    """Return the text of a mixture whose sources have these keys, each as YAML in a flow."""
    top = "" if tokens is None else f"tokens: {tokens}\n"
    sources = "".join(
        f"  {name}: {{from: {{path: {name}.jsonl}}, {keys}}}\n" for name, keys in budgets.items()
    )
    order = "order: {seed: 1, global_batch_size: 8, max_seq_len: 1024}\n"
    return f"name: shared\n{top}chunk: {{size: 1024}}\nsources:\n{sources}{order}"


def tokens_by_source(text: str) -> dict[str, object]:
    mixture = read(text)
    return {one.name: mixture.tokens_of(one) for one in mixture.sources}


def test_shares_are_read_in_every_spelling() -> None:
    spellings = {"a": "share: 30%", "b": "share: 12.5%", "c": "share: 1/4", "d": 'share: "0.325"'}
    assert tokens_by_source(mixture_text(spellings, "10B")) == {
        "a": 3_000_000_000,
        "b": 1_250_000_000,
        "c": 2_500_000_000,
        "d": 3_250_000_000,
    }


def test_the_rounding_is_frozen() -> None:
    """Largest remainder; of equal ones, the first names are rounded up."""
    thirds = dict.fromkeys(("c", "a", "b"), "share: 1/3")
    assert tokens_by_source(mixture_text(thirds, "1000")) == {"a": 334, "b": 333, "c": 333}
    assert tokens_by_source(mixture_text(thirds, "1001")) == {"a": 334, "b": 334, "c": 333}
    uneven = {"a": "share: 1/7", "b": "share: 2/7", "c": "share: 4/7"}
    # 14.28…, 28.57… and 57.14…
    assert tokens_by_source(mixture_text(uneven, "100")) == {"a": 14, "b": 29, "c": 57}


@settings(derandomize=True, max_examples=100, deadline=None)
@given(
    weights=st.lists(st.integers(1, 999), min_size=1, max_size=12),
    tokens=st.integers(20_000, 10**13),
)
def test_budgets_of_shares_sum_to_the_total_and_each_is_next_to_its_part(
    weights: list[int], tokens: int
) -> None:
    whole = sum(weights)
    shares = {f"s{i}": f"share: {weight}/{whole}" for i, weight in enumerate(weights)}
    found = tokens_by_source(mixture_text(shares, str(tokens)))
    assert sum(map(int, map(str, found.values()))) == tokens
    for i, weight in enumerate(weights):
        assert abs(int(str(found[f"s{i}"])) - Fraction(weight * tokens, whole)) < 1


def test_a_mixture_of_shares_is_the_one_with_the_tokens_that_they_come_to() -> None:
    shares = {"a": "share: 70%", "b": "share: 30%, max_repetition: 2", "c": "tokens: all"}
    tokens = {"a": "tokens: 700", "b": "tokens: 300, max_repetition: 2", "c": "epochs: 1"}
    tokens["c"] = "category: uncategorised"
    of_shares, of_tokens = read(mixture_text(shares)), read(mixture_text(tokens, None))
    assert of_shares.declaration() == of_tokens.declaration()
    assert of_shares.fingerprint == of_tokens.fingerprint
    miniature = read(mixture_text(shares), "scale=0.05")
    asks = {name: ask.tokens for name, ask in budgets(miniature).items()}
    assert asks == {"a": 35, "b": 15, "c": None}


def test_the_total_and_a_share_may_be_set_on_the_command_line() -> None:
    text = mixture_text({"a": "share: 70%", "b": "share: 30%"})
    assert [read(text, "tokens=2k").tokens_of(one) for one in read(text).sources] == [1400, 600]
    moved = read(text, "sources.a.share=3/4", "sources.b.share=25%")
    assert [moved.tokens_of(one) for one in moved.sources] == [750, 250]


FORM = "a share above 0 and at most 100%, such as 30%, 12.5%, 1/3 or 0.3"


@pytest.mark.parametrize(
    ("a", "b", "tokens", "problem"),
    [
        (
            "share: 70%", "share: 29%", "1000",
            "a.yaml:5:3: sources: got shares that sum to 99%, which is 1% below (a 70%, b 29%), "
            "expected 100%",
        ),
        (
            "share: 2/3", "share: 0.4", "1000",
            "a.yaml:5:3: sources: got shares that sum to 16/15, which is 1/15 above (a 2/3, b 40%),"
            " expected 100%",
        ),
        (
            "tokens: all", "epochs: 2", "1000",
            "a.yaml:5:3: sources: got shares that sum to 0%, which is 100% below (no source has "
            "one), expected 100%",
        ),
        (
            "share: 100%", "category: b", "1000",
            "a.yaml:6:6: sources.b.share: got none beside tokens: 1,000 at the top, expected a "
            "share of them, or tokens or epochs",
        ),
        (
            "share: 100%", "tokens: all", None,
            "a.yaml:4:37: sources.a.share: got it without tokens at the top, expected both, or a "
            "budget here",
        ),
        (
            "share: 99.95%", "share: 0.05%", "1000",
            "a.yaml:6:37: sources.b.share: got 0.05% of 1,000 tokens, expected a share of at least "
            "one token",
        ),
        (
            "share: 50%", "share: 50%, tokens: 5", "1000",
            "a.yaml:6:37: sources.b.share: got both share and tokens, expected only one of them",
        ),
        (
            "share: 50%", "share: 50%, epochs: 2", "1000",
            "a.yaml:6:37: sources.b.share: got both share and epochs, expected only one of them",
        ),
        (
            "share: 50%", "share: 50%, expected: 5M", "1000",
            "a.yaml:6:52: sources.b.expected: got it with a budget, expected it with `tokens: all` "
            "or epochs only",
        ),
        (
            "share: 0", "share: 100%", "1000",
            f"a.yaml:5:37: sources.a.share: got 0, expected {FORM}",
        ),
        (
            "share: 70", "share: 30%", "1000",
            f"a.yaml:5:37: sources.a.share: got 70, expected {FORM}; did you mean 70%?",
        ),
        (
            "share: 101%", "share: 30%", "1000",
            f'a.yaml:5:37: sources.a.share: got "101%", expected {FORM}',
        ),
    ],
)  # fmt: skip
def test_what_is_no_complete_set_of_shares_is_refused(
    a: str, b: str, tokens: str | None, problem: str
) -> None:
    found = problems(mixture_text({"a": a, "b": b}, tokens))
    assert [line for line in found if not line.startswith("hint: ")] == [problem]


@pytest.mark.parametrize(
    ("shares", "hint"),
    [
        (["70%", "29%"], "a `share: 70.7%`, b `share: 29.3%`"),
        (["2/3", "0.4"], "a `share: 62.5%`, b `share: 37.5%`"),
        (["50%", "50%", "50%"], "a `share: 33.4%`, b `share: 33.3%`, c `share: 33.3%`"),
        (["100%", "0.001%"], "a `share: 99.999%`, b `share: 0.001%`"),
    ],
)
def test_shares_that_do_not_sum_to_all_are_rescaled_to_paste(shares: list[str], hint: str) -> None:
    given_ = {name: f"share: {share}" for name, share in zip("abc", shares, strict=False)}
    found = problems(mixture_text(given_))
    assert found[1:] == [f"hint: in the same proportions: {hint}"]
    pasted = dict(one.split(" ", 1) for one in hint.replace("`", "").split(", "))
    assert read(mixture_text(pasted, "1M")).tokens == 1_000_000


@given(st.lists(st.fractions(Fraction(1, 10**6), 1), min_size=1, max_size=8))
def test_rescaled_shares_sum_to_all(weights: list[Fraction]) -> None:
    shares = {f"s{number}": weight for number, weight in enumerate(weights)}
    rescaled = [part.split("`")[1] for part in _rescaled(shares).split(", ")]
    found = [Fraction(one.removeprefix("share: ").rstrip("%")) / 100 for one in rescaled]
    assert sum(found) == 1
    for share, wanted in zip(found, weights, strict=True):
        assert share > 0
        assert abs(share - wanted / sum(weights)) < Fraction(1, 1000)


def test_a_share_that_a_source_cannot_meet_is_refused_in_its_own_words() -> None:
    mixture = read(mixture_text({"a": "share: 75%", "b": "share: 25%"}))
    with pytest.raises(ConfigError) as caught:
        check_reachable([(budgets(mixture)["a"], 300, "")])
    assert str(caught.value) == (
        "sources.a.share: needs 750 tokens, has 300 at max_repetition 1\n"
        "hint: raise sources.a.max_repetition to 3, or lower sources.a.share, or tokens to 400"
    )


def test_a_share_is_written_without_rounding() -> None:
    found = [format_share(one) for one in (Fraction(1, 3), Fraction(1, 8), Fraction(3, 1000))]
    assert found == ["1/3", "12.5%", "0.3%"]
