"""Shares: budgets of sources as parts of the mixture's own `tokens`.

Shares are exact and sum to 100%. The budgets that they come to are rounded by largest remainder, so
these sum to `tokens`; of equal remainders, those of the first names are rounded up.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from pipeline.config.settings import Complaints
from pipeline.config.source import Source
from pipeline.core.apportion import largest_remainder


def budgets_of_shares(tokens: int, sources: Sequence[Source]) -> dict[str, int]:
    """Return the token budget of each source that has a share, by name. Pure."""
    exact = {one.name: one.share * tokens for one in sources if one.share is not None}
    return largest_remainder(exact, tokens)


def check_shares(tokens: int | None, sources: Sequence[Source]) -> Complaints:
    """Demand that `tokens` and shares come together, and that the shares are all of it."""
    shares = {one.name: one.share for one in sources if one.share is not None}
    if tokens is None:
        for name in shares:
            yield f"sources.{name}.share", "it without tokens at the top", "both, or a budget here"
        return
    for one in sources:
        if one.share is None and one.tokens is None and one.epochs is None:
            got = f"none beside tokens: {tokens:,} at the top"
            yield f"sources.{one.name}.share", got, "a share of them, or tokens or epochs"
    total = sum(shares.values(), Fraction())
    if total != 1:
        off = "above" if total > 1 else "below"
        listed = ", ".join(f"{name} {format_share(share)}" for name, share in shares.items())
        yield (
            "sources",
            f"shares that sum to {format_share(total)}, which is {format_share(abs(total - 1))}"
            f" {off} ({listed or 'no source has one'})",
            "100%",
            _rescaled(shares),
        )
        return
    for name, share in shares.items():
        if share * tokens < 1:
            got = f"{format_share(share)} of {tokens:,} tokens"
            yield f"sources.{name}.share", got, "a share of at least one token"


def _rescaled(shares: Mapping[str, Fraction]) -> str:
    """Return shares of the same proportions that sum to 100%, in the fewest decimals from one."""
    if not shares:
        return "give sources a `share`, or leave `tokens` at the top out"
    total, parts = sum(shares.values(), Fraction()), 1000
    while any(share * parts < total for share in shares.values()):
        parts *= 10
    exact = {name: share * parts / total for name, share in shares.items()}
    rounded = largest_remainder(exact, parts)
    listed = (f"{name} `share: {format_share(Fraction(rounded[name], parts))}`" for name in shares)
    return f"in the same proportions: {', '.join(listed)}"


def format_share(share: Fraction) -> str:
    """Return a share without rounding: in percent, or as a fraction where that never ends.

    >>> format_share(Fraction(1, 8)), format_share(Fraction(2, 3)), format_share(Fraction(1))
    ('12.5%', '2/3', '100%')
    """
    for num_decimals in range(10):
        scaled = share * 100 * 10**num_decimals
        if scaled.denominator == 1:
            whole, decimals = divmod(scaled.numerator, 10**num_decimals)
            return f"{whole}.{decimals:0{num_decimals}}%" if num_decimals else f"{whole}%"
    return str(share)
