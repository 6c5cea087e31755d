"""Open index: runs of ids -> how often they are in an order, and where, without reading rows."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from pipeline.audit.search.found import Found, without_longer
from pipeline.audit.search.index_record import (
    HINT,
    INDEX,
    IndexRecord,
    array_path,
    damaged_files,
    map_section,
    read_index_record,
    section_folder,
)
from pipeline.audit.search.section import ARRAYS, Section
from pipeline.audit.trace.text_search import Match
from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.core.errors import ConfigError, InputError, MismatchError
from pipeline.core.ragged import offsets_of
from pipeline.core.saved_file import facts_of
from pipeline.dataset import Order, as_path

_ROWS_AT_ONCE = 1024
_ALL = 1 << 32


def default_folder(where: str | Path) -> Path:
    """Return where the index of an order at a path lies: beside it, since an output is sealed.

    Raises: ConfigError for an address.
    """
    path = as_path(where)
    if path is None:
        raise ConfigError(
            f"{where}: got an address, which has no place for a search index",
            "name a folder for it with --out",
        )
    path = Path(os.path.abspath(path))
    return path.with_name(f"{path.name}.search-index")


def find_index(order: Order) -> "SearchIndex | None":
    """Open the index beside an order at a path; None if there is none. Raises: MismatchError."""
    if as_path(order.where) is None:
        return None
    folder = default_folder(order.where)
    return SearchIndex.open(folder, order) if (folder / INDEX).exists() else None


Facts = list[tuple[int, int, int] | None]


def _facts_of(folder: Path, record: IndexRecord) -> Facts:
    sections = [section_folder(folder, number) for number in range(len(record.sections))]
    return [facts_of(array_path(section, name)) for section in sections for name in ARRAYS]


@dataclass(frozen=True, kw_only=True)
class SearchIndex:
    """An open index, whose files are mapped. Patterns are runs of at least one id, each uint32."""

    folder: Path
    record: IndexRecord
    facts: Facts
    """Size, mtime and inode of its files as they were opened."""

    @classmethod
    def open(cls, folder: Path, order: Order) -> "SearchIndex":
        """Open the index of an order.

        Files that are not as they were synced, such as those of a copy, are hashed.

        Raises: InputError when there is none, or it is not finished; MismatchError when it is
        damaged, or of another order.
        """
        if not (folder / INDEX).exists():
            raise InputError(
                f"{folder}: got no {INDEX}, expected a search index",
                "run `ettin-data search-index`, which goes on where it was stopped",
            )
        record = read_index_record(folder / INDEX, IndexRecord)
        if record.order != order.digest:
            raise MismatchError(
                f"{folder}: got the index of the order {record.order}, and {order.where} is the"
                f" order {order.digest}",
                "run `ettin-data search-index` again, or remove the index",
            )
        facts = _facts_of(folder, record)
        for number, listed in enumerate(record.sections):
            for path in damaged_files(section_folder(folder, number), listed):
                what = "is damaged" if path.exists() else "is missing"
                raise MismatchError(f"{path}: {what}", HINT)
        return cls(folder=folder, record=record, facts=facts)

    def has_changed(self) -> bool:
        """Return whether a file is another now. Reading what was cut off a mapped one ends us."""
        return _facts_of(self.folder, self.record) != self.facts

    @property
    def bounds(self) -> Int64Array:
        """int64 [num_sections + 1], the rows at which sections begin, and the number of rows."""
        return offsets_of([one.num_rows for one in self.record.sections])

    @cached_property
    def _sections(self) -> list[Section]:
        numbers = range(len(self.record.sections))
        return [map_section(section_folder(self.folder, number)) for number in numbers]

    def find(self, patterns: list[Uint32Array], first: int = 50) -> Found:
        """Count the places where any of some patterns is, and return the first ones."""
        patterns = without_longer(patterns)
        counts = np.zeros(len(self._sections), np.int64)
        rows, offsets = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for number, section in enumerate(self._sections):
            left = first - sum(map(len, rows))
            counts[number], places = section.locate(section.runs(patterns), left)
            found = section.rows_of(places)
            rows.append(found[0] + self.record.sections[number].first_row)
            offsets.append(found[1])
        return Found(
            count=int(counts.sum()),
            rows=np.concatenate(rows),
            offsets=np.concatenate(offsets),
            bounds=self.bounds,
            counts=counts,
        )

    def count_between(self, patterns: list[Uint32Array], bounds: Int64Array) -> Int64Array:
        """Count the places where any of some patterns is by row: int64 [num_bounds - 1].

        bounds: int64 [num_bounds], rising rows from 0 to their number, such as `Found.bounds` or
        the first rows of steps.
        """
        patterns = without_longer(patterns)
        counts = np.zeros(len(bounds) - 1, np.int64)
        for start, stop, section in zip(
            self.bounds[:-1], self.bounds[1:], self._sections, strict=True
        ):
            first = int(np.searchsorted(bounds, start, side="right")) - 1
            last = int(np.searchsorted(bounds, stop, side="left"))
            inside = np.clip(bounds[first : last + 1], start, stop) - start
            runs = section.runs(patterns)
            if last - first == 1:
                counts[first] += section.locate(runs, 0)[0]
            else:
                counts[first:last] += section.count_between(runs, inside)
        return counts

    def matches(self, patterns: list[Uint32Array]) -> Iterator[list[Match]]:
        """Yield the places where any of some patterns is, as `find` of the text search does."""
        patterns = without_longer(patterns)
        for listed, section in zip(self.record.sections, self._sections, strict=True):
            _, places = section.locate(section.runs(patterns), _ALL)
            rows, offsets = section.rows_of(places)
            rows += listed.first_row
            cuts = np.flatnonzero(np.diff(rows // _ROWS_AT_ONCE)) + 1
            for some in np.split(np.arange(len(rows)), cuts) if len(rows) else ():
                pairs = zip(rows[some].tolist(), offsets[some].tolist(), strict=True)
                yield [Match(row=row, offset=offset) for row, offset in pairs]
