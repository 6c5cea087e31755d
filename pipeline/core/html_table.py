"""A small table as HTML, for values that a notebook shows: escaped, without script or styles."""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import islice

from pipeline.core.shown import printable, without_secrets

_MOST_ROWS = 200
_RIGHT = ' style="text-align: right"'


def html_table(
    title: str,
    notes: Iterable[str],
    texts: Sequence[str],
    numbers: Sequence[str],
    rows: Iterable[Sequence[str]],
) -> str:
    """Return a title, lines below it, and a table whose columns are texts, then numbers. Pure.

    Of more than 200 rows the rest is left out and counted.
    """
    lines = "".join(f"<br>{_text(one)}" for one in notes)
    rows = iter(rows)
    body = [_row("td", one, len(texts)) for one in islice(rows, _MOST_ROWS)]
    num_more = sum(1 for _ in rows)
    if num_more:
        body.append(_row("td", [f"and {num_more:,} more"], 1))
    head = _row("th", [*texts, *numbers], len(texts))
    return (
        f"<p><b>{_text(title)}</b>{lines}</p>"
        f"<table><thead>{head}</thead><tbody>{''.join(body)}</tbody></table>"
    )


def _row(tag: str, cells: Sequence[str], num_texts: int) -> str:
    written = (
        f"<{tag}{'' if number < num_texts else _RIGHT}>{_text(cell)}</{tag}>"
        for number, cell in enumerate(cells)
    )
    return f"<tr>{''.join(written)}</tr>"


def _text(text: str) -> str:
    return escape(printable(without_secrets(text)))
