"""Report: what a trace found -> lines for a person, values for a machine.

People count chunks from 1, machines from 0; steps count from 1 and rows from 0 for both.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pipeline.audit.trace.positions import RowRange
from pipeline.dataset.provenance import RowProvenance, SourceCounts


def row_line(row: RowProvenance, offset: int | None = None) -> str:
    """Return the provenance of a row as one line; `offset`: where in it a text was found."""
    at = "" if offset is None else f" at {offset}"
    return (
        f"row {row.row}{at}, step {row.step}: {row.source} {row.file}"
        f" {json.dumps(row.document, ensure_ascii=False)}"
        f" chunk {row.chunk + 1} of {row.num_chunks}, {row.num_tokens:,} tokens"
    )


def text_lines(text: str) -> str:
    """Return a text below its line, so that nothing in it can be taken for more than text."""
    spelled = ("".join(map(_spelled, line)) for line in text.split("\n"))
    return "\n".join(f"    {line}" for line in spelled)


def _spelled(character: str) -> str:
    if character.isprintable() or character == "\t":
        return character
    return character.encode("unicode_escape").decode()


def row_json(
    row: RowProvenance, *, text: str | None = None, offset: int | None = None
) -> dict[str, Any]:
    """Return the provenance of a row as JSON-able values, with the text and offset requested."""
    extras = {"offset": offset, "text": text}
    return {
        **row._asdict(),
        **{name: value for name, value in extras.items() if value is not None},
    }


def counts_lines(span: RowRange, counts: Mapping[str, SourceCounts]) -> list[str]:
    """Return what a span holds of each source as lines of one table."""
    total = _total(counts)
    heading = ("source", "rows", "documents", "tokens")
    table = [heading, *((name, *_numbers(one)) for name, one in counts.items())]
    table.append(("total", f"{total['num_rows']:,}", "", f"{total['num_tokens']:,}"))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        f"{span.name}: steps {span.first_step} to {span.last_step},"
        f" rows {span.start_row} to {span.stop_row - 1}"
    ]
    if span.tombstones:
        ranges = ", ".join(f"{start} to {stop - 1}" for start, stop in span.tombstones)
        lines.append(f"not given to the model, since they could not be read: rows {ranges}")
    for name, *cells in table:
        aligned = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        lines.append("  ".join([name.ljust(widths[0]), *aligned]).rstrip())
    return lines


def counts_json(span: RowRange, counts: Mapping[str, SourceCounts]) -> dict[str, Any]:
    """Return what a span holds of each source as JSON-able values."""
    return {
        **asdict(span),
        **_total(counts),
        "sources": {name: asdict(one) for name, one in counts.items()},
    }


def _total(counts: Mapping[str, SourceCounts]) -> dict[str, int]:
    return {
        name: sum(getattr(one, name) for one in counts.values())
        for name in ("num_rows", "num_tokens")
    }


def _numbers(counts: SourceCounts) -> tuple[str, str, str]:
    return f"{counts.num_rows:,}", f"{counts.num_documents:,}", f"{counts.num_tokens:,}"
