"""Tables of sources, of a plan and of a build: columns that add up, each in one unit.

Sources stand below the sum of their category, and above a total. What is rounded is rounded once,
for each source, so that what is printed adds up to the last digit.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.cli.table import count, print_table
from pipeline.core.units import BYTES

if TYPE_CHECKING:
    from pipeline.dataset import SourceRow

Amounts = Mapping[str, int | None]
"""By source."""
# Numbers of at most seven digits: nine such columns and the names fit into 120 characters.
_LARGEST = 10**7
_LONGEST_NAME, _WIDTH = 28, 120
_UNITS = {1: "", 10**3: "k", 10**6: "M", 10**9: "B"}
_NAMES = {10**3: "thousands", 10**6: "millions", 10**9: "billions"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column of numbers."""

    heading: str
    by_source: Amounts
    """Their sums are those of the lines of categories, and of the total."""
    show: Callable[[int | None], str] = count
    is_rare: bool = False
    """Whether it is left out where there is nothing in it."""

    @property
    def is_shown(self) -> bool:
        return not self.is_rare or any(self.by_source.values())

    def cell(self, sources: Iterable[str]) -> str:
        """Return the sum over sources, as it is printed."""
        numbers = [self.by_source[source] for source in sources]
        known = [number for number in numbers if number is not None]
        return self.show(sum(known) if len(known) == len(numbers) else None)


def print_columns(
    rows: Sequence["SourceRow"],
    columns: Iterable[Column],
    texts: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Print columns of numbers for sources, their categories and all.

    texts: further columns, by heading, of a text for each source.
    """
    shown, texts = [column for column in columns if column.is_shown], texts or {}
    headings = [column.heading for column in shown]
    print_table(("category", "source", *texts), headings, _lines(rows, shown, texts))


def _lines(
    rows: Sequence["SourceRow"], columns: Sequence[Column], texts: Mapping[str, Mapping[str, str]]
) -> list[list[str]]:
    from pipeline.dataset import with_sums

    names = {row.source: _shortened(row.source) for row in rows}
    if len(set(names.values())) < len(names):
        names = {row.source: row.source for row in rows}
    lines = []
    for line in with_sums(rows):
        sources = [
            row.source
            for row in rows
            if line.source in ("", row.source) and line.category in ("", row.category)
        ]
        is_total = not (line.category or line.source)
        about = [of.get(line.source, "") for of in texts.values()]
        cells = [column.cell(sources) for column in columns]
        category = "total" if is_total else line.category
        lines.append([category, names.get(line.source, ""), *about, *cells])
    return lines


def _fits(rows: Sequence["SourceRow"], columns: Iterable[Column]) -> bool:
    """Tell whether a terminal of the usual width shows these columns on one line each."""
    shown = [column for column in columns if column.is_shown]
    headings = ["category", "source", *(column.heading for column in shown)]
    widths = (
        max(map(len, cells)) for cells in zip(headings, *_lines(rows, shown, {}), strict=True)
    )
    return sum(width + 2 for width in widths) <= _WIDTH


def print_documents(
    rows: Sequence["SourceRow"], *before: Column, **texts: Mapping[str, str]
) -> None:
    """Print what becomes of the documents of sources, after columns of other numbers."""
    documents = {row.source: row.documents for row in rows}
    columns = [Column(heading="documents", by_source=documents, is_rare=True)]
    if any(row.num_dropped for row in rows):
        columns += [
            Column(heading="dropped", by_source={row.source: row.num_dropped for row in rows}),
            Column(heading="kept", by_source={row.source: row.kept for row in rows}),
        ]
    print_columns(rows, [*before, *columns], texts)


def print_reasons(rows: Sequence["SourceRow"]) -> None:
    """Print why documents of each source are dropped, if any are."""
    lines = [
        (row.source, reason, f"{number:,}", f"{100 * number / max(row.documents or 0, 1):.1f}")
        for row in rows
        for reason, number in sorted((row.dropped or {}).items())
    ]
    if lines:
        print_table(("source", "dropped because"), ("documents", "% of the source"), lines)


def print_tokens(rows: Sequence["SourceRow"]) -> None:
    """Print what becomes of the tokens of sources, and how the columns add up."""
    from pipeline.dataset import in_units, shares

    unit = token_unit(rows)
    asked, got = shares(rows, "asked"), shares(rows, "drawn")
    rounded = [in_units(row, unit) for row in rows]
    of_unit = f", {_UNITS[unit]}" if unit > 1 else ""

    def tokens(heading: str, name: str, *, is_rare: bool = True) -> Column:
        by_source = {row.source: getattr(row, name) for row in rounded}
        return Column(heading=f"{heading}{of_unit}", by_source=by_source, is_rare=is_rare)

    has_unread = any(row.read is None for row in rows)
    terms = [
        tokens("written", "written", is_rare=False)
        if has_unread
        else tokens("read", "read", is_rare=False),
        *([] if has_unread else [tokens("added", "added"), tokens("discarded", "discarded")]),
        tokens("validation", "validation"),
        tokens("unused", "unused"),
        tokens("repeated", "repeated"),
    ]
    sampled = tokens("sampled", "drawn", is_rare=False)
    shared = [
        Column(heading="asked, %", by_source=asked, show=_in_tenths),
        Column(heading="got, %", by_source=got, show=_in_tenths),
        tokens("asked", "asked", is_rare=False),
    ]
    num_rows = Column(
        heading="rows", by_source={row.source: row.rows for row in rows}, is_rare=True
    )
    whole = [*shared, *terms, sampled, num_rows]
    for columns in (
        [whole] if _fits(rows, whole) else [[*shared, sampled, num_rows], [*terms, sampled]]
    ):
        print_columns(rows, columns)
    names = [column.heading.removesuffix(of_unit) for column in terms if column.is_shown]
    signs = {"added": "+", "repeated": "+"}
    sums = "".join(f" {signs.get(name, '-')} {name}" for name in names[1:])
    in_what = f", in {_NAMES[unit]} of tokens" if unit > 1 else ", in tokens"
    print(f"sampled = {names[0]}{sums}{in_what}")


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:12]}…{name[-15:]}"


def token_unit(rows: Sequence["SourceRow"]) -> int:
    """Return the unit in which all tokens of a table are printed."""
    from pipeline.dataset import summed

    total = summed(rows)
    largest = max(total.read or 0, total.written, total.asked, total.drawn)
    return next((unit for unit in _UNITS if largest < unit * _LARGEST), max(_UNITS))


def bytes_column(heading: str, by_source: Mapping[str, int]) -> Column:
    """Return a column of sizes, all in one unit, to a tenth; their sum is 100 units or more."""
    units = {"B": 1, **{name: size for name, size in BYTES.multiples.items() if "i" in name}}
    total = max(sum(by_source.values()), 100)
    name, size = max(
        (one for one in units.items() if 100 * one[1] <= total), key=lambda one: one[1]
    )
    tenths = {source: round(10 * number / size) for source, number in by_source.items()}
    return Column(
        heading=f"{heading}, {name}",
        by_source={source: number // 10 for source, number in tenths.items()}
        if size == 1
        else tenths,
        show=count if size == 1 else _in_tenths,
        is_rare=True,
    )


def _in_tenths(tenths: int | None) -> str:
    return "?" if tenths is None else f"{tenths // 10:,}.{tenths % 10}"
