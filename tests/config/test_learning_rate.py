"""The learning rate is what the recipe says at every boundary, and depends on nothing else."""

import math
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.config.learning_rate import RateSpec, Shape, learning_rate
from pipeline.core.errors import ConfigError

PEAK = Fraction("0.003")
B = 10**9


class Phase(NamedTuple):
    """A phase of the suite: its rate, and the tokens over which it runs."""

    rate: RateSpec
    tokens: int


def rate(
    shape: Shape, start: str, end: str, warmup_tokens: int = 0, decay_tokens: int = 0
) -> RateSpec:
    return RateSpec(
        shape=shape,
        start=Fraction(start),
        end=Fraction(end),
        warmup_tokens=warmup_tokens,
        decay_tokens=decay_tokens,
    )


PRETRAINING = Phase(rate("warmup-stable-decay", "1", "1", 4 * B), 1700 * B)
EXTENSION = Phase(rate("one-minus-sqrt", "1", "0.5", 0, 250 * B), 250 * B)
DECAY = Phase(rate("one-minus-sqrt", "0.5", "0.02", 0, 50 * B), 50 * B)
CROSS = Phase(rate("warmup-stable-decay", "0.5", "0.01", 3 * B, 10 * B), 50 * B)


def at(phase: Phase, tokens_seen: int, peak: Fraction = PEAK) -> float:
    return learning_rate(phase.rate, peak, tokens_seen, phase.tokens)


def times(multiple: str) -> float:
    return float(PEAK * Fraction(multiple))


@st.composite
def phases(draw: st.DrawFn) -> Phase:
    tokens = draw(st.integers(1, 10**13))
    warmup_tokens = draw(st.integers(0, tokens))
    decay_tokens = draw(st.sampled_from([0, tokens - warmup_tokens]) | st.integers(0, tokens))
    decay_tokens = min(decay_tokens, tokens - warmup_tokens)
    shape: Shape = draw(st.sampled_from(["warmup-stable-decay", "one-minus-sqrt"]))
    start = draw(st.fractions(Fraction(1, 100), 1, max_denominator=1000))
    end = draw(st.fractions(0, start, max_denominator=1000)) if decay_tokens else start
    return Phase(rate(shape, str(start), str(end), warmup_tokens, decay_tokens), tokens)


# The published chain, in multiples of the peak.
# Source: JHU-CLSP/ettin-encoder-vs-decoder, `pretraining/configs`, and the notes beside them.


@pytest.mark.parametrize(
    ("phase", "tokens_seen", "multiple"),
    [
        (PRETRAINING, 0, "0"),
        (PRETRAINING, 1 * B, "0.25"),
        (PRETRAINING, 4 * B, "1"),
        (PRETRAINING, 1700 * B, "1"),
        (EXTENSION, 0, "1"),
        (EXTENSION, 62_500_000_000, "0.75"),  # half of the fall in a quarter of the tokens
        (EXTENSION, 250 * B, "0.5"),
        (DECAY, 0, "0.5"),
        (DECAY, 12_500_000_000, "0.26"),
        (DECAY, 50 * B, "0.02"),
        (CROSS, 0, "0"),
        (CROSS, 3 * B, "0.5"),
        (CROSS, 40 * B, "0.5"),
        (CROSS, 45 * B, "0.255"),
        (CROSS, 50 * B, "0.01"),
    ],
)
def test_the_published_chain_holds_to_the_bit(
    phase: Phase, tokens_seen: int, multiple: str
) -> None:
    assert at(phase, tokens_seen) == times(multiple)


def test_phases_meet_where_one_ends_and_the_next_begins() -> None:
    for before, after in ((PRETRAINING, EXTENSION), (EXTENSION, DECAY)):
        assert at(before, before.tokens) == at(after, 0)


# Where the published mechanism could go wrong.


def test_no_phase_takes_its_base_from_the_rate_that_a_checkpoint_holds() -> None:
    """A base passed on would go from half of the peak to all of it in one step."""
    first, second = at(DECAY, 0), at(DECAY, 2_836_000)
    assert first == times("0.5")
    assert second < first
    assert second > 0.99 * first
    assert at(DECAY, DECAY.tokens) == times("0.02") != times("0.04")


def test_a_phase_without_decay_divides_by_nothing_at_its_end_and_beyond() -> None:
    flat = Phase(rate("warmup-stable-decay", "1", "1"), 1000)
    rooted = Phase(rate("one-minus-sqrt", "1", "1"), 1000)
    for phase in (flat, rooted):
        assert {at(phase, seen) for seen in (0, 1, 999, 1000, 1001, 10**15)} == {times("1")}


def test_an_end_rate_that_would_never_be_reached_is_refused() -> None:
    told = r"end: got 1/50, expected start, here 1, as decay_tokens is 0"
    with pytest.raises(ConfigError, match=told):
        rate("warmup-stable-decay", "1", "0.02", 4 * B)
    with pytest.raises(ConfigError, match="end: got 1, expected at most start, here 1/2"):
        rate("one-minus-sqrt", "0.5", "1", decay_tokens=5)


def test_a_run_that_is_stopped_and_taken_up_again_keeps_its_clock() -> None:
    """The rate is of the tokens of the phase, however often it is asked and in what sequence."""
    asked = [0, 3 * B - 1, 3 * B, 44 * B, 49_999_999_999, 50 * B]
    once = [at(CROSS, seen) for seen in asked]
    assert [at(CROSS, seen) for seen in reversed(asked)][::-1] == once
    assert len(set(once)) == len(asked)


def test_beyond_the_end_the_rate_stays_at_the_end_rate() -> None:
    for phase in (PRETRAINING, EXTENSION, DECAY, CROSS):
        assert at(phase, phase.tokens) == at(phase, phase.tokens + 1) == at(phase, 10**18)


def test_a_step_has_the_rate_of_the_tokens_before_it() -> None:
    """Of a warm-up of three equal steps, the fourth is the first at the full rate."""
    phase = Phase(rate("warmup-stable-decay", "1", "1", 30), 100)
    rates = [at(phase, 10 * step) for step in range(5)]
    assert rates == [0.0, float(PEAK / 3), float(PEAK * 2 / 3), float(PEAK), float(PEAK)]


# For any phase.


@QUICK
@given(phases())
def test_the_rate_is_exact_where_its_parts_meet(phase: Phase) -> None:
    start, end = float(PEAK * phase.rate.start), float(PEAK * phase.rate.end)
    decay_begins = phase.tokens - phase.rate.decay_tokens
    assert at(phase, 0) == (0.0 if phase.rate.warmup_tokens else start)
    assert at(phase, phase.rate.warmup_tokens) == start
    assert at(phase, decay_begins) == start
    assert at(phase, phase.tokens) == end


@QUICK
@given(phases(), st.lists(st.integers(0, 2 * 10**13), min_size=2, max_size=30))
def test_the_rate_rises_in_the_warm_up_and_never_after(phase: Phase, asked: list[int]) -> None:
    for one, other in pairwise(sorted(asked)):
        if other <= phase.rate.warmup_tokens:
            assert at(phase, one) <= at(phase, other)
        if one >= phase.rate.warmup_tokens:
            assert at(phase, one) >= at(phase, other)


@QUICK
@given(phases(), st.integers(0, 10**13))
def test_one_token_moves_the_rate_by_no_more_than_its_part_allows(phase: Phase, seen: int) -> None:
    """Continuous: a token more is a little more; the root is steepest at its first token."""
    seen %= phase.tokens
    moved = abs(at(phase, seen + 1) - at(phase, seen))
    steps = [1 / span for span in (phase.rate.warmup_tokens, phase.rate.decay_tokens) if span]
    if phase.rate.shape == "one-minus-sqrt" and phase.rate.decay_tokens:
        steps.append(math.sqrt(1 / phase.rate.decay_tokens))
    assert moved <= float(PEAK * phase.rate.start) * max(steps, default=0) * (1 + 1e-9) + 1e-15


def test_rates_are_the_same_on_every_machine() -> None:
    asked = [1, 2_836_000, 123_456_789_012, 249_999_999_999]
    assert [at(EXTENSION, seen).hex() for seen in asked] == [
        "0x1.8937320196136p-9",
        "0x1.888dc6531ccf9p-9",
        "0x1.fe1ba3755d731p-10",
        "0x1.89374bc6ab505p-10",
    ]
