"""Text of people as Markdown: nothing in it is taken for a mark, an element or a row of a table."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from pipeline.core.shown import printable

_MARKS: Final = re.compile(r"[\\`*_\[\]|~$&]")
# At the start of a line: headings, lists, rules and underlines.
_STARTS: Final = re.compile(r"^([#+\-=>:]|\d{1,9}(?=[.)]))")


def inline(text: str) -> str:
    """Return text for the middle of a line, on one line. Pure."""
    shown = printable(" ".join(text.split()))
    marked = _MARKS.sub(lambda match: f"\\{match[0]}", shown)
    return marked.replace("<", "&lt;").replace(">", "&gt;")


def line(text: str) -> str:
    """Return text for a line of its own, or an item of a list. Pure."""
    return _STARTS.sub(_escaped_start, inline(text))


def paragraphs(text: str) -> str:
    """Return text in paragraphs, which blank lines part. Pure."""
    return "\n\n".join(line(part) for part in re.split(r"\n\s*\n", text) if part.strip())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are Markdown. Pure."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell or '–' for cell in line)} |" for line in lines)


def _escaped_start(match: re.Match[str]) -> str:
    # A number is no mark; what follows it is.
    return f"{match[0]}\\" if match[0].isdecimal() else f"\\{match[0]}"
