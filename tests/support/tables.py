"""Printed tables of sources, read back: numbers by heading, line by line."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

Line = dict[str, Fraction | None]
"""The number below each heading; None for one that is not known."""


@dataclass(frozen=True, kw_only=True)
class Printed:
    """A table of sources as it was printed."""

    sources: dict[tuple[str, str], Line]
    """By category and source."""
    categories: dict[str, Line]
    """The sums of those with several sources."""
    total: Line


def read_tables(text: str) -> Iterator[Printed]:
    """Yield the tables of sources in what a command printed; numbers stand below their heading."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.strip().startswith("category "):
            ends = [index for index, one in enumerate(lines[number:]) if one.startswith(" total")]
            yield _read(line, lines[number + 1 : number + ends[0] + 1])


def _read(head: str, lines: list[str]) -> Printed:
    columns = [(one.group(), one.end()) for one in re.finditer(r"\S+(?: \S+)*", head)]
    names = [name for name, _ in columns]
    first = names.index("source") + 1
    is_text = {name for name in names[first:] if name in ("licence", "asked") and "files" in names}
    source_at = head.index("source")
    sources, categories, total = {}, {}, {}
    for line in lines:
        cells = {
            name: line[:end].rsplit("  ", 1)[-1].strip()
            for name, end in columns[first:]
            if name not in is_text
        }
        values = {name: _number(cell) for name, cell in cells.items()}
        category = line[:source_at].strip()
        source = line[source_at:].split("  ")[0].strip()
        if category == "total":
            total = values
        elif source:
            sources[category, source] = values
        else:
            categories[category] = values
    return Printed(sources=sources, categories=categories, total=total)


def _number(cell: str) -> Fraction | None:
    return None if cell == "?" else Fraction(cell.replace(",", ""))


def check_sums(table: Printed) -> int:
    """Assert that the lines of categories and the total are the sums above them; count them."""
    num_checked = 0
    for category, line in [*table.categories.items(), ("", table.total)]:
        own = [one for (of, _), one in table.sources.items() if category in ("", of)]
        for name, number in line.items():
            parts = [one[name] for one in own]
            known = [part for part in parts if part is not None]
            expected = sum(known) if len(known) == len(parts) else None
            assert number == expected, (category or "total", name)
            num_checked += 1
    return num_checked


def check_flow(text: str) -> int:
    """Assert that each line follows the formula that is printed below; count the lines."""
    (formula,) = re.findall(r"^sampled = (.*), in .*tokens$", text, re.MULTILINE)
    terms = re.findall(r"(?:([+-]) )?([a-z]+)", formula)
    num_checked = 0
    for table in read_tables(text):
        for line in (*table.sources.values(), *table.categories.values(), table.total):
            tokens = {re.sub(r", [kMB]$", "", name): number for name, number in line.items()}
            if not {name for _, name in terms} <= tokens.keys():
                continue
            amounts = [(-1 if sign == "-" else 1) * (tokens[name] or 0) for sign, name in terms]
            assert sum(amounts) == tokens["sampled"], tokens
            num_checked += 1
    return num_checked
