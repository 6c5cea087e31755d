"""Propose a mixture: facts about sources -> budgets, sizes and rules that build unchanged. Pure.

Several sources share one budget, small enough that none is repeated. A source much smaller than the
others is taken whole. So is everything if there is little text or only one source, since nobody
wants less of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Final

from pipeline.core.apportion import largest_remainder
from pipeline.runner.setup.inspect_files import SourceFacts

CHUNK_SIZE: Final = 1024
SEED: Final = 21
_LITTLE_TOKENS: Final = 1_000_000
# A budget that cannot be met stops a build, so what is only estimated is not used to its end.
_COUNTED, _READ, _SAMPLED = Fraction(99, 100), Fraction(95, 100), Fraction(80, 100)
# Rounded to a tenth of a percent, a smaller share would be far from what there is.
_SMALL: Final = Fraction(1, 100)
# The rows of less than a step are dropped: 1 % of 100 steps at most, however rough the estimate.
_MOST_BATCH, _FEWEST_STEPS = 1024, 100
_DEFAULT_MAX_BAD: Final = Fraction(1, 100)


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """A mixture that is to be written."""

    name: str
    sources: tuple[SourceFacts, ...]
    tokens: int | None
    """Of all sources with a share together; None where each chunk is taken once."""
    shares: dict[str, Fraction]
    """By source, 1 in sum, in whole tenths of a percent; the other sources are taken whole."""
    num_rows: int
    """Expected of the budgets."""
    global_batch_size: int
    skips_bad: bool
    """Whether some documents cannot be read and would stop a build."""
    max_bad: Fraction | None
    """Where a file has more of them than a mixture allows by default."""
    left_out: tuple[str, ...] = ()
    """Files in the same folders that are no data."""
    warnings: tuple[str, ...] = ()
    """What a user should know before a build, a line each."""

    @property
    def is_remote(self) -> bool:
        return any(one.group.store is not None for one in self.sources)

    @property
    def num_tokens(self) -> int:
        """Of all sources, as far as is known."""
        return sum(one.num_tokens for one in self.sources)


def propose(
    name: str,
    sources: Sequence[SourceFacts],
    left_out: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> Proposal:
    """Return the mixture to write of some sources."""
    tokens, shares = _budget(sources)
    num_rows = _num_rows(sources, tokens, shares)
    worst = max((one.worst_file for one in sources), default=Fraction(0))
    # Twice what was seen, in whole percent.
    max_bad = Fraction(ceil(200 * worst), 100) if worst > _DEFAULT_MAX_BAD else None
    return Proposal(
        name=name,
        sources=tuple(sources),
        tokens=tokens,
        shares=shares,
        num_rows=num_rows,
        global_batch_size=_batch_size(num_rows),
        skips_bad=any(one.bad for one in sources),
        max_bad=max_bad,
        left_out=tuple(left_out),
        warnings=(*warnings, *_warnings(sources, max_bad)),
    )


def _warnings(sources: Sequence[SourceFacts], max_bad: Fraction | None) -> Iterator[str]:
    """Yield what the mixture drops, and what it allows that it would not by default."""
    for one in sources:
        yield from one.warnings
        if one.bad:
            yield f"{one.where}: {one.bad_in_words}; `on_error: skip` drops and counts them"
        if one.num_blank:
            yield (
                f"{one.where}: {one.num_blank:,} of {one.num_blank + one.num_documents:,} texts are"
                " white space alone; a filter drops and counts them"
            )
    if max_bad is not None:
        yield (
            f"`max_bad: {float(max_bad):g}` is written, since a file has more than 1 % of documents"
            " that cannot be used: look at them before you build"
        )


def _budget(sources: Sequence[SourceFacts]) -> tuple[int | None, dict[str, Fraction]]:
    """Return a budget that no source is repeated for, and shares of it; None without."""
    total = sum(one.num_tokens for one in sources)
    large = [one for one in sources if one.num_tokens >= _SMALL * total]
    if len(large) < 2 or total < _LITTLE_TOKENS:
        return None, {}
    shares = split_shares({one.name: one.num_tokens for one in large})
    reached = min(floor(_usable(one) / shares[one.name]) for one in large)
    # Two digits, rounded down.
    unit = 10 ** (len(str(reached)) - 2)
    return reached // unit * unit, shares


def split_shares(amounts: dict[str, int]) -> dict[str, Fraction]:
    """Return what part each is of all, in whole tenths of a percent and 1 in sum."""
    total = sum(amounts.values())
    exact = {name: Fraction(1000 * amount, total) for name, amount in amounts.items()}
    rounded = largest_remainder(exact, 1000)
    return {name: Fraction(rounded[name], 1000) for name in amounts}


def _usable(one: SourceFacts) -> Fraction:
    part = _COUNTED if one.is_counted else _READ if one.is_whole else _SAMPLED
    return part * one.num_tokens


def _num_rows(
    sources: Sequence[SourceFacts], tokens: int | None, shares: dict[str, Fraction]
) -> int:
    """Return how many rows budgets come to: of a source with a share, as many as of its tokens."""
    rows = Fraction(0)
    for one in sources:
        asked = shares[one.name] * (tokens or 0) if one.name in shares else one.num_tokens
        rows += Fraction(one.num_rows) * asked / max(one.num_tokens, 1)
    return floor(rows)


def _batch_size(num_rows: int) -> int:
    """Return the largest power of two that leaves enough steps."""
    most = max(num_rows // _FEWEST_STEPS, 1)
    return int(min(1 << (most.bit_length() - 1), _MOST_BATCH))
