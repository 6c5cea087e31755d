"""Print a table to stdout."""

import sys
from collections.abc import Iterable, Sequence

from pipeline.core.shown import printable


def print_table(
    texts: Sequence[str], numbers: Sequence[str], rows: Iterable[Sequence[str | None]]
) -> None:
    """Print a table: columns of texts, then of numbers, which align right."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*texts, box=None)
    for heading in numbers:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*(cell and printable(cell) for cell in row))
    # Wide enough never to cut a number where stdout is no terminal.
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(table)


def count(number: int | None) -> str:
    """Return a number for people, or `?` where it is unknown."""
    return "?" if number is None else f"{number:,}"
