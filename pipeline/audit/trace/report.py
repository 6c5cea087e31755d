"""Report: what a trace found -> lines for a person, where chunks count from 1; JSON, from 0."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, astuple
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


def beside_lines(
    pairs: Iterable[tuple[RowProvenance | None, RowProvenance | None]],
) -> Iterator[str]:
    """Yield the rows that two orders have at the same places: `=` one line for both, if they are
    of the same chunk, else `-` for the first and `+` for the second; then how many are.
    """
    ours, theirs = Counter[_Chunk](), Counter[_Chunk]()
    num_same = 0
    for mine, other in pairs:
        if mine is not None and other is not None and _chunk(mine) == _chunk(other):
            num_same += 1
            yield f"= {row_line(mine)}"
        else:
            yield from (f"- {row_line(mine)}",) if mine else ()
            yield from (f"+ {row_line(other)}",) if other else ()
        ours.update([_chunk(mine)] if mine else [])
        theirs.update([_chunk(other)] if other else [])
    yield (
        f"{ours.total():,} rows here, {theirs.total():,} there: {num_same:,} are of the same chunk"
        f" at the same place, {(ours & theirs).total():,} at any"
    )


def beside_json(mine: RowProvenance | None, other: RowProvenance | None) -> dict[str, Any]:
    """Return the rows of two orders at one place as JSON-able values; None beyond the last."""
    return {"here": mine and row_json(mine), "there": other and row_json(other)}


_Chunk = tuple[str, str, int, int]


def _chunk(row: RowProvenance) -> _Chunk:
    return row.source, row.document, row.chunk, row.num_chunks


def text_lines(text: str) -> str:
    """Return a text, indented and escaped, so that it cannot be taken for another line."""
    spelled = ("".join(map(_spelled, line)) for line in text.split("\n"))
    return "\n".join(f"    {line}" for line in spelled)


def _spelled(character: str) -> str:
    if character.isprintable() or character == "\t":
        return character
    return character.encode("unicode_escape").decode()


def row_json(
    row: RowProvenance, *, text: str | None = None, offset: int | None = None
) -> dict[str, Any]:
    """Return the provenance of a row as JSON-able values."""
    extras = {"offset": offset, "text": text}
    return row._asdict() | {key: value for key, value in extras.items() if value is not None}


def counts_lines(span: RowRange, counts: Mapping[str, SourceCounts]) -> list[str]:
    """Return what a span holds of each source as lines of one table."""
    total = _total(counts)
    heading = ("source", "rows", "documents", "tokens")
    table = [heading, *((name, *map("{:,}".format, astuple(one))) for name, one in counts.items())]
    table.append(("total", f"{total['num_rows']:,}", "", f"{total['num_tokens']:,}"))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    steps = _from_to("step", span.first_step, span.last_step)
    rows = _from_to("row", span.start_row, span.stop_row - 1)
    where = f"{steps}, {rows}"
    lines = [where if span.name in (steps, rows) else f"{span.name}: {where}"]
    if span.tombstones:
        ranges = ", ".join(f"{start} to {stop - 1}" for start, stop in span.tombstones)
        lines.append(f"not given to the model, since they could not be read: rows {ranges}")
    for name, *cells in table:
        aligned = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        lines.append("  ".join([name.ljust(widths[0]), *aligned]).rstrip())
    return lines


def _from_to(what: str, first: int, last: int) -> str:
    return f"{what} {first}" if first == last else f"{what}s {first} to {last}"


def counts_json(span: RowRange, counts: Mapping[str, SourceCounts]) -> dict[str, Any]:
    """Return what a span holds of each source as JSON-able values."""
    sources = {name: asdict(one) for name, one in counts.items()}
    return {**asdict(span), **_total(counts), "sources": sources}


def _total(counts: Mapping[str, SourceCounts]) -> dict[str, int]:
    names = ("num_rows", "num_tokens")
    return {name: sum(getattr(one, name) for one in counts.values()) for name in names}
