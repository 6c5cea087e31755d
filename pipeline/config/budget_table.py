"""The tokens and percentages that a mixture declares, per source, per category and in total.

Figures are exact, before `scale`, and rounded when printed; a sum with an unknown part is unknown.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from pipeline.config.mixture import Mixture
from pipeline.config.source import Source


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetRow:
    source: str | None
    """None on the line of a category."""
    category: str
    tokens: int | None
    """The budget, or the expected tokens; None if neither is declared."""
    percent: Fraction | None
    """Of the total; None if that is unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetTable:
    sources: tuple[BudgetRow, ...]
    """Sorted by name, like the categories."""
    categories: tuple[BudgetRow, ...]
    total: int | None
    """None if one of the sources is unknown."""


def budget_table(mixture: Mixture) -> BudgetTable:
    """Return the tokens of each source and category of a mixture, and their shares. Pure."""
    tokens = {source.name: declared_tokens(mixture, source) for source in mixture.sources}
    total = _sum(tokens.values())
    by_category: dict[str, list[int | None]] = {}
    for source in mixture.sources:
        by_category.setdefault(source.category, []).append(tokens[source.name])
    sources = (_row(one.name, one.category, tokens[one.name], total) for one in mixture.sources)
    categories = (_row(None, one, _sum(by_category[one]), total) for one in sorted(by_category))
    return BudgetTable(sources=tuple(sources), categories=tuple(categories), total=total)


def declared_tokens(mixture: Mixture, source: Source) -> int | None:
    """Return a source's budget, or the tokens expected of `all` or `epochs`. Pure."""
    tokens = mixture.tokens_of(source)
    return tokens if isinstance(tokens, int) else source.expected


def in_billions(num_tokens: int) -> str:
    """Return a token count as published tables print it.

    >>> in_billions(1_704_679_337_679), in_billions(450_000_000)
    ('1,704.7', '0.5')
    """
    return in_percent(Fraction(num_tokens, 10**9))


def in_percent(percent: Fraction) -> str:
    """Return a percentage, with one decimal, as published tables print it.

    >>> in_percent(Fraction(837_200, 17_047))
    '49.1'
    """
    # Halves up; on a hundredth that is exact, which the published tables nowhere have.
    whole, tenth = divmod((percent * 20 + 1) // 2, 10)
    return f"{whole:,}.{tenth}"


def _row(source: str | None, category: str, tokens: int | None, total: int | None) -> BudgetRow:
    percent = None if tokens is None or total is None else Fraction(100 * tokens, total)
    return BudgetRow(source=source, category=category, tokens=tokens, percent=percent)


def _sum(amounts: Iterable[int | None]) -> int | None:
    known = list(amounts)
    return None if None in known else sum(amount for amount in known if amount is not None)
