"""The lines of a table of sources: what there is of each, what happens to it, and their sums.

For each line, in documents: `documents` = `kept` + those `dropped`. In tokens: `read` + `added` =
`written` + `discarded`, `written` - `validation` = `available`, and `available` + `repeated` -
`unused` = `drawn`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction

from pipeline.core.apportion import largest_remainder
from pipeline.dataset.manifest import Manifest, SourceRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceRow:
    """A line of a table of sources; None is a number that nobody knows yet."""

    category: str
    source: str
    """Empty for the sum of a category, and, below an empty category, of all."""
    asked: int
    """Tokens that the mixture wants."""
    documents: int | None
    kept: int | None
    dropped: Mapping[str, int] | None
    """By reason."""
    read: int | None
    """Tokens of the documents that are kept."""
    added: int | None
    """Tokens that chunking puts in: the special tokens of further chunks."""
    discarded: int | None
    """Tokens that chunking leaves out."""
    written: int
    validation: int
    repeated: int
    """Tokens that are drawn once more."""
    unused: int
    """Tokens for training that are not drawn."""
    drawn: int
    rows: int | None
    """Chunks that are drawn."""

    @property
    def available(self) -> int:
        """Tokens for training."""
        return self.written - self.validation

    @property
    def num_dropped(self) -> int | None:
        return None if self.dropped is None else sum(self.dropped.values())


_SUMMED = tuple(
    one.name for one in fields(SourceRow) if one.name not in ("category", "source", "dropped")
)


def rows_of(manifest: Manifest) -> tuple[SourceRow, ...]:
    """Return the line of each source of a build, by category and name. Pure."""
    declared = manifest.mixture.declaration
    is_scaled = Fraction(declared.get("scale", 1)) != 1
    rows = (
        _row_of(name, declared["sources"][name]["category"], source, is_scaled)
        for name, source in manifest.sources.items()
    )
    return tuple(sorted(rows, key=lambda row: (row.category, row.source)))


def _row_of(name: str, category: str, source: SourceRecord, is_scaled: bool) -> SourceRow:
    tokens, budget, documents = source.tokens, source.budget, source.documents
    return SourceRow(
        category=category,
        source=name,
        # At another scale, what is expected of a source is its budget.
        asked=budget.asked if is_scaled else budget.expected or budget.asked,
        documents=documents.num_in,
        kept=documents.kept,
        dropped=dict(sorted(documents.dropped.items())),
        read=tokens.num_in,
        added=tokens.added,
        discarded=tokens.discarded,
        written=tokens.written,
        validation=tokens.validation,
        repeated=budget.repeated,
        unused=budget.available + budget.repeated - budget.drawn,
        drawn=tokens.drawn,
        rows=source.chunks.drawn,
    )


def summed(rows: Sequence[SourceRow], category: str = "") -> SourceRow:
    """Return the sum of lines; what is unknown of one is unknown of all. Pure."""
    sums = {name: _sum([getattr(row, name) for row in rows]) for name in _SUMMED}
    dropped: Counter[str] | None = Counter()
    for row in rows:
        dropped = None if dropped is None or row.dropped is None else dropped + Counter(row.dropped)
    by_reason = None if dropped is None else dict(sorted(dropped.items()))
    return SourceRow(category=category, source="", dropped=by_reason, **sums)  # type: ignore[arg-type]


def with_sums(rows: Sequence[SourceRow]) -> tuple[SourceRow, ...]:
    """Return the lines of a table: sources, below the sum of a category of several, and a total.

    rows: as `rows_of` returns them. Pure.
    """
    lines: list[SourceRow] = []
    for category in dict.fromkeys(row.category for row in rows):
        own = [row for row in rows if row.category == category]
        lines += [summed(own, category), *own] if len(own) > 1 else own
    return (*lines, summed(rows))


def in_units(row: SourceRow, unit: int) -> SourceRow:
    """Return a source's line in thousands, millions …, rounded so that it still adds up. Pure.

    What follows from other numbers is not rounded itself, so it may differ by some units.
    """

    def rounded(number: int) -> int:
        return round(Fraction(number, unit))

    read, added, discarded = row.read, row.added, row.discarded
    written = rounded(row.written)
    if read is not None and added is not None and discarded is not None:
        read, added, discarded = rounded(read), rounded(added), rounded(discarded)
        written = read + added - discarded
    validation, repeated, unused = map(rounded, (row.validation, row.repeated, row.unused))
    return replace(
        row, asked=rounded(row.asked), read=read, added=added, discarded=discarded, written=written,
        validation=validation, repeated=repeated, unused=unused,
        drawn=written - validation + repeated - unused,
    )  # fmt: skip


def shares(rows: Sequence[SourceRow], name: str) -> dict[str, int]:
    """Return each source's part of a number, in tenths of a percent that sum to 1,000. Pure."""
    amounts = {row.source: getattr(row, name) for row in rows}
    total = sum(amounts.values())
    exact = {source: Fraction(1000 * one, max(total, 1)) for source, one in amounts.items()}
    return largest_remainder(exact, 1000 if total else 0)


def _sum(numbers: Sequence[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None
