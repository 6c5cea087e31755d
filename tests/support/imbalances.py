"""What does not add up in a table of sources."""

from collections.abc import Iterator, Sequence

from pipeline.dataset.source_rows import SourceRow, summed

NOT_NEGATIVE = ("written", "validation", "repeated", "unused", "drawn")


def imbalances(rows: Sequence[SourceRow]) -> Iterator[str]:
    """Yield a line for each number of a table, such as `with_sums` makes, that does not add up."""
    for row in rows:
        where = row.source or row.category or "total"
        if row.documents is not None and row.kept is not None:
            yield from _differ(f"{where}: documents", row.documents, row.kept, row.num_dropped)
        if row.read is not None and row.added is not None:
            parts = (row.written, row.discarded, -row.added)
            yield from _differ(f"{where}: tokens read", row.read, *parts)
        parts = (row.available, row.repeated, -row.unused)
        yield from _differ(f"{where}: tokens drawn", row.drawn, *parts)
        if row.source:
            negative = [name for name in NOT_NEGATIVE if getattr(row, name) < 0]
            yield from (f"{where}: {name}: got less than nothing" for name in negative)
    sources = [row for row in rows if row.source]
    for row in rows:
        if not row.source:
            own = [one for one in sources if not row.category or one.category == row.category]
            if row != summed(own, row.category):
                yield f"{row.category or 'total'}: is not the sum of its sources"


def _differ(where: str, number: int, *parts: int | None) -> Iterator[str]:
    known = [part for part in parts if part is not None]
    total = sum(known) if len(known) == len(parts) else None
    if number != total:
        yield f"{where}: got {number:,}, expected {total}"
