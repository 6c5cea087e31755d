"""The learning rate of a phase: a recipe and the tokens seen -> the next step's rate.

Nothing else counts: no earlier phase, no checkpoint. The rate is computed from exact numbers and
rounded once, so it is the same on every machine, and exact at the ends of each part.
"""

import math
from fractions import Fraction
from typing import Literal

from pipeline.config.settings import Complaints, Given, setting, settings
from pipeline.config.value_types import TOKENS_OR_ZERO, Number

Shape = Literal["warmup-stable-decay", "one-minus-sqrt"]


@settings
class RateSpec:
    """The learning rate over a phase, in multiples of the peak rate."""

    shape: Shape = setting(
        "How the rate falls at the end: linearly, or as 1 - sqrt does, fast at first."
    )
    start: Fraction = setting(
        "Rate after the warm-up and until the decay, as a multiple of the peak rate.", Number()
    )
    end: Fraction = setting(
        "Rate at the end of the phase, as a multiple of the peak rate; start without decay.",
        Number(zero=True),
    )
    warmup_tokens: int = setting(
        "Tokens over which the rate first rises linearly from 0 to start.",
        TOKENS_OR_ZERO,
        default=0,
    )
    decay_tokens: int = setting(
        "Tokens before the end over which the rate falls to end.", TOKENS_OR_ZERO, default=0
    )

    @staticmethod
    def rule(given: Given) -> Complaints:
        if not {"start", "end", "decay_tokens"} <= given.keys():
            return
        start, end, decay_tokens = given["start"], given["end"], given["decay_tokens"]
        if end > start:
            yield "end", end, f"at most start, here {start}"
        elif end != start and not decay_tokens:
            yield "end", end, f"start, here {start}, as decay_tokens is 0"


def learning_rate(rate: RateSpec, peak: Fraction, tokens_seen: int, total_tokens: int) -> float:
    """Return the learning rate of the step that follows `tokens_seen` tokens of the phase.

    Tokens are counted without padding. The first step of a warm-up has rate 0, the last step of a
    phase not quite its end rate; beyond the end the rate is constant. Pure.

    Source: the clock and the two shapes are those of the suite's training code, orionw/bert24,
    `src/scheduler.py`; explicit ends per phase take the place of a base rate that phases pass on.
    """
    assert tokens_seen >= 0
    return float(peak * _multiple(rate, tokens_seen, total_tokens))


def _multiple(rate: RateSpec, tokens_seen: int, total_tokens: int) -> Fraction:
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
