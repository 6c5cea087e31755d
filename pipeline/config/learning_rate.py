"""The learning rate of a phase: what a recipe says of it, and tokens seen -> the next step's rate.

Enters: the `RateSpec` of a phase and its peak, the tokens of all steps before this one, the tokens
of the phase. Leaves: the rate. Nothing else has a say: not the phase before, not a checkpoint, not
how often the run was stopped. The rate is worked out from exact numbers and rounded once, so it is
the same on every machine, and at the ends of each part it is what the recipe says, to the bit.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final, Literal

from pipeline.config.fields import Section, apply_rule, key
from pipeline.config.number_types import Number, TokensOrZero
from pipeline.config.value_types import Choice

Shape = Literal["warmup-stable-decay", "one-minus-sqrt"]


def _rate_rule(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not {"start", "end", "decay_tokens"} <= given.keys():
        return
    start, end, decay_tokens = given["start"], given["end"], given["decay_tokens"]
    if end > start:
        yield "end", f"got {end}, expected at most start, here {start}"
    elif end != start and not decay_tokens:
        yield "end", f"got {end}, expected start, here {start}, where nothing decays: decay_tokens"


@dataclass(frozen=True, kw_only=True, slots=True)
class RateSpec:
    """The learning rate over a phase, in multiples of the peak rate."""

    shape: Shape = field(
        metadata=key(
            Choice("warmup-stable-decay", "one-minus-sqrt"),
            "How the rate falls at the end: in a line, or as 1 - sqrt does, fast at first.",
        )
    )
    start: Fraction = field(
        metadata=key(
            Number(zero=False, one=True),
            "Rate after the warm-up, and until the decay, as a multiple of the peak rate.",
        )
    )
    end: Fraction = field(
        metadata=key(
            Number(zero=True, one=True),
            "Rate at the end of the phase, as a multiple of the peak rate; start without decay.",
        )
    )
    warmup_tokens: int = field(
        default=0,
        metadata=key(
            TokensOrZero(), "Tokens over which the rate first rises from 0 to start, in a line."
        ),
    )
    decay_tokens: int = field(
        default=0, metadata=key(TokensOrZero(), "Tokens before the end over which it falls to end.")
    )

    def __post_init__(self) -> None:
        apply_rule(_rate_rule, self)


RATE: Final = Section(RateSpec, _rate_rule)
"""The rate of a phase in a file, as one kind."""


def learning_rate(rate: RateSpec, peak: Fraction, tokens_seen: int, total_tokens: int) -> float:
    """Return the learning rate of the step that follows `tokens_seen` tokens of the phase.

    The clock is the tokens of the steps before, padding left out: the first step of a warm-up has
    the rate 0, and the last step of a phase not quite its end rate. Beyond the end the rate stays.
    Pure.

    Source: the clock and the two shapes are those of the suite's training code, orionw/bert24,
    `src/scheduler.py`; explicit ends per phase take the place of a base rate that phases pass on.
    """
    assert tokens_seen >= 0
    return float(peak * _multiple(rate, tokens_seen, total_tokens))


def _multiple(rate: RateSpec, tokens_seen: int, total_tokens: int) -> Fraction:
    """Return the rate as a multiple of the peak."""
    if tokens_seen < rate.warmup_tokens:
        return rate.start * tokens_seen / rate.warmup_tokens
    if tokens_seen >= total_tokens:
        return rate.end
    decayed = tokens_seen - (total_tokens - rate.decay_tokens)
    if decayed <= 0:
        return rate.start
    part = Fraction(decayed, rate.decay_tokens)
    if rate.shape == "one-minus-sqrt":
        # Both roundings, of the quotient and of its root, are IEEE 754's, the same everywhere.
        part = Fraction(math.sqrt(part))
    return rate.start + (rate.end - rate.start) * part
