"""Printing: results -> stdout, as text or as JSON."""

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def print_json(content: object) -> None:
    """Print a value."""
    print(json.dumps(content, indent=2, ensure_ascii=False))


def print_json_list(items: Iterable[object]) -> None:
    """Print a list whose items may be more than fit in memory."""
    separator = "["
    for item in items:
        print(separator + json.dumps(item, ensure_ascii=False), end="")
        separator = ",\n "
    print("[]" if separator == "[" else "]")


def print_lines(lines: Iterable[str]) -> None:
    """Print lines of text."""
    for line in lines:
        print(line)


def print_table(table: "Table") -> None:
    """Print a table."""
    from rich.console import Console

    # Wide enough never to cut a number where stdout is no terminal.
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(table)
