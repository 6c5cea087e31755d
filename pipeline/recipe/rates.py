"""The learning rate: tokens seen in a phase -> the rate of the next step.

Enters: the `RateSpec` of a phase and its peak, the tokens of all steps before this one, the tokens
of the phase. Leaves: the rate. Nothing else has a say: not the phase before, not a checkpoint, not
how often the run was stopped. The rate is worked out from exact numbers and rounded once, so it is
the same on every machine, and at the ends of each part it is what the recipe says, to the bit.
"""

import math
from fractions import Fraction

from pipeline.recipe.values import RateSpec


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
