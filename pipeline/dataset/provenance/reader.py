"""Read provenance: rows of an order, by position or by document -> where they come from.

A look-up reads a few footers and row groups, whatever the size, of files that it has compared with
the manifest: at full size about 25 MB for a step, of two files or three, and 30 MB for a document.
"""

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.arrays import Int64Array
from pipeline.core.digest import FileDigest
from pipeline.core.errors import MismatchError
from pipeline.core.mirrored import here
from pipeline.dataset.arrow_columns import names_of, numbers, utf8_of, values_of
from pipeline.dataset.paths import PROVENANCE
from pipeline.dataset.provenance.document_index import (
    DOCUMENT_SCHEMA,
    DOCUMENTS,
    document_hash,
    document_hashes,
    documents_file,
    part_of,
)
from pipeline.dataset.provenance.writer import ROW_SCHEMA

_HINT = "build again to write it"
_NUMBERS = re.compile(r".*_(\d{1,18})/steps_(\d{1,18})_.*\.parquet")


class RowProvenance(NamedTuple):
    """Where one row of an order comes from. A tuple, since a step has thousands."""

    row: int
    """Position in the order, from 0 over the whole phase."""
    step: int
    """Step that takes the row, from 1 over the whole phase."""
    source: str
    """Source of the document."""
    file: str
    """Path of the input file as the mixture gives it, or of the folder of chunks."""
    document: str
    """Id of the document, unique in its source."""
    chunk: int
    """The number of the chunk in its document, from 0."""
    num_chunks: int
    """The chunks of the document."""
    num_tokens: int
    """Ids of the row in the order."""


class ProvenanceReader:
    """The provenance of an order."""

    def __init__(self, folder: Path, files: Mapping[str, FileDigest]) -> None:
        """Open the provenance in a folder; files: those of the manifest, by path from there.

        Raises: MismatchError when the manifest names no index, or an incomplete one; later, when a
        file that is read is missing, or has other bytes.
        """
        self._folder = folder
        self._unchecked = {folder / name: digest for name, digest in files.items()}
        named = {name: folder / name for name in sorted(files) if name.count("/") == 1}
        of_rows = [path for name, path in named.items() if fnmatch(name, "*/steps_*.parquet")]
        self._row_files = sorted(of_rows, key=_place)
        found = [path for name, path in named.items() if name.startswith(f"{DOCUMENTS}/")]
        self._document_files = found
        self._bounds: dict[int, tuple[int, int]] = {}
        expected = [folder / documents_file(part, len(found)) for part in range(len(found))]
        if not found or found != expected:
            raise MismatchError(f"{folder}: got no complete provenance of an order", _HINT)

    @classmethod
    def of_output(cls, out: Path, files: Mapping[str, FileDigest]) -> "ProvenanceReader":
        """Open the provenance of an output; files: all of its manifest. Raises: MismatchError."""
        below = f"{PROVENANCE}/"
        named = {name.removeprefix(below): files[name] for name in files if name.startswith(below)}
        return cls(out / PROVENANCE, named)

    @property
    def num_rows(self) -> int:
        """Rows of the order."""
        return self._bounds_of(len(self._row_files) - 1)[1] if self._row_files else 0

    def rows(self, start: int, stop: int) -> list[RowProvenance]:
        """Return the provenance of rows `start` to `stop`, which must be in the order."""
        return [origin for table in self.tables(start, stop) for origin in provenance_of(table)]

    def tables(self, start: int, stop: int) -> Iterator[pa.Table]:
        """Yield the same as tables of `ROW_SCHEMA`, at most a row group each."""
        for path in self._row_files[self._file_of(start) :]:
            if start >= stop:
                return
            with self._open(path, ROW_SCHEMA) as file:
                for table in _overlapping(path, file, start, stop):
                    start += len(table)
                    yield table
        if start < stop:
            raise MismatchError(f"{self._folder}: got no row {start}, expected it", _HINT)

    def document(self, document: str, source: str | None = None) -> list[RowProvenance]:
        """Return the rows of a document, by source and row: of one source, or of all."""
        digest = document_hash(document)
        path = self._document_files[part_of(digest, len(self._document_files))]
        with self._open(path, DOCUMENT_SCHEMA) as file:
            groups = range(file.num_row_groups)
            first = bisect_left(groups, digest, key=lambda group: _hash_range(file, group)[1])
            last = bisect_right(groups, digest, key=lambda group: _hash_range(file, group)[0])
            if first == last:
                return []
            with _reading(path):
                table = file.read_row_groups([*groups[first:last]])
        table = table.take(numbers(np.flatnonzero(values_of(table["hash"]) == digest)))
        return [
            origin
            for origin in provenance_of(table)
            if origin.document == document and source in (None, origin.source)
        ]

    def _open(self, path: Path, schema: pa.Schema) -> pq.ParquetFile:
        """Open a file; before its first use it is read to be compared with the manifest."""
        with _reading(path):
            if (digest := self._unchecked.get(path)) and FileDigest.of(path) != digest:
                raise MismatchError(
                    f"{path}: has other bytes than the manifest says",
                    f"{_HINT}; `ettin-data verify` names all files that differ",
                )
            self._unchecked.pop(path, None)
            file = pq.ParquetFile(here(path))
        if file.schema_arrow.equals(schema):
            return file
        file.close()
        raise MismatchError(f"{path}: got columns {file.schema_arrow.names} of other types", _HINT)

    def _file_of(self, row: int) -> int:
        """Return the number of the only file that can have a row.

        Each that is looked into is read whole, to be compared with the manifest. Files have about
        as many rows each, so that a guess is mostly right, or next to it.
        """
        low, high = 0, len(self._row_files) - 1
        first, end = 0, self.num_rows
        for number in count():
            if low >= high:
                break
            guess = low + (row - first) * (high - low + 1) // max(end - first, 1)
            guess = min(max(guess, low), high) if number < 3 else (low + high) // 2
            start, stop = self._bounds_of(guess)
            if row < start:
                high, end = guess - 1, start
            elif row >= stop:
                low, first = guess + 1, stop
            else:
                return guess
        return max(low, 0)

    def _bounds_of(self, number: int) -> tuple[int, int]:
        """Return the first row of a file and one past its last."""
        if number not in self._bounds:
            path = self._row_files[number]
            with self._open(path, ROW_SCHEMA) as file:
                first_row = _first_row(path, file)
                self._bounds[number] = (first_row, first_row + file.metadata.num_rows)
        return self._bounds[number]


def _place(path: Path) -> tuple[int, int]:
    """Return the numbers of a file's window and first step; names have six digits or more.

    Raises: MismatchError when the names have no numbers.
    """
    named = _NUMBERS.fullmatch(f"{path.parent.name}/{path.name}")
    if named is None:
        raise MismatchError(
            f"{path}: got a file of another name, expected one like"
            " checkpoint_000001/steps_000001_to_000100.parquet",
            _HINT,
        )
    return int(named[1]), int(named[2])


def provenance_of(table: pa.Table) -> Iterator[RowProvenance]:
    """Yield the rows of a table as values."""
    columns = (
        names_of(table[name]) if name in ("source", "file") else table[name].to_pylist()
        for name in RowProvenance._fields
    )
    return map(RowProvenance._make, zip(*columns, strict=True))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise MismatchError(f"{path}: cannot be read: {error}", _HINT) from error


def _first_row(path: Path, file: pq.ParquetFile) -> int:
    if file.metadata.num_rows == 0:
        raise MismatchError(f"{path}: got no rows, expected some", _HINT)
    first_row: int = file.metadata.row_group(0).column(0).statistics.min
    return first_row


def _overlapping(path: Path, file: pq.ParquetFile, start: int, stop: int) -> Iterator[pa.Table]:
    """Yield the rows of a file from `start`, which it must have, to `stop` or its end."""
    first_row = _first_row(path, file)
    if not first_row <= start < first_row + file.metadata.num_rows:
        raise MismatchError(f"{path}: got no row {start}, expected it here", _HINT)
    for group in range(file.num_row_groups):
        end = first_row + file.metadata.row_group(group).num_rows
        if start < min(end, stop):
            with _reading(path):
                table = file.read_row_group(group)
            yield table.slice(start - first_row, min(end, stop) - start)
            start = min(end, stop)
        first_row = end


def _hash_range(file: pq.ParquetFile, group: int) -> tuple[int, int]:
    statistics = file.metadata.row_group(group).column(0).statistics
    return statistics.min, statistics.max


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceCounts:
    """What some rows hold of one source."""

    num_rows: int
    num_documents: int
    """Distinct documents, by hash."""
    num_tokens: int
    """Ids of the rows in the order."""


def count_sources(tables: Iterable[pa.Table]) -> dict[str, SourceCounts]:
    """Count the rows of tables of `ROW_SCHEMA` by source, sorted by name.

    Memory: eight bytes a row, or less if documents repeat.
    """
    rows: defaultdict[str, int] = defaultdict(int)
    tokens: defaultdict[str, int] = defaultdict(int)
    documents: defaultdict[str, list[Int64Array]] = defaultdict(list)
    for batch in (batch for table in tables for batch in table.to_batches()):
        hashes = document_hashes(*utf8_of(batch["document"]))
        places, num_tokens = values_of(batch["source"].indices), values_of(batch["num_tokens"])
        for place, source in enumerate(batch["source"].dictionary.to_pylist()):
            chosen = places == place
            rows[source] += int(chosen.sum())
            tokens[source] += int(num_tokens[chosen].sum(dtype=np.int64))
            documents[source].append(np.unique(hashes[chosen]))
    return {
        source: SourceCounts(
            num_rows=rows[source],
            num_documents=len(np.unique(np.concatenate(documents[source]))),
            num_tokens=tokens[source],
        )
        for source in sorted(rows)
        if rows[source]
    }
