"""The few columns of provenance that counts need, a row group at a time.

Where a row lies follows from the names of files and the steps of the order, so that none is opened
to find it, and none is read whole to be compared with the manifest: for pictures, not for proofs.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.core.errors import MismatchError
from pipeline.core.mirrored import here
from pipeline.dataset.arrow_columns import Int32Array, ranks_of, values_of

_COLUMNS = ("source", "chunk", "num_tokens")
_INDEX_COLUMNS = ("hash", "row", "source", "chunk")


@dataclass(frozen=True, kw_only=True, slots=True)
class RowFile:
    """A file of provenance."""

    path: Path
    start: int
    """Its first row in the order."""
    stop: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RowColumns:
    """Consecutive rows."""

    start: int
    """The first of them in the order."""
    sources: Int32Array
    """int32 [num_rows], the place of each row's source among all."""
    chunks: Uint32Array
    num_tokens: Uint32Array

    def __len__(self) -> int:
        return len(self.sources)

    def within(self, start: int, stop: int) -> "RowColumns":
        """Return those of rows `start` to `stop`, as views."""
        part = slice(max(start - self.start, 0), max(stop - self.start, 0))
        return RowColumns(
            start=max(start, self.start),
            sources=self.sources[part],
            chunks=self.chunks[part],
            num_tokens=self.num_tokens[part],
        )


@dataclass(frozen=True, kw_only=True)
class ColumnReader:
    """Reads the columns of the provenance of an order. May be shared by threads."""

    files: Sequence[RowFile]
    """By row, without a gap."""
    place_by_source: Mapping[str, int]

    def group_at(self, row: int) -> RowColumns:
        """Return the row group that has a row. Raises: MismatchError when it cannot be read."""
        number = bisect_right(self.files, row, key=lambda file: file.start) - 1
        named = self.files[number]
        with _reading(named) as file:
            first = named.start
            for group in range(file.num_row_groups):
                num_rows = file.metadata.row_group(group).num_rows
                if row < first + num_rows:
                    return self._read(file, group, first)
                first += num_rows
        raise MismatchError(f"{named.path}: got no row {row}, expected it here")

    def groups(self, start: int, stop: int) -> Iterator[RowColumns]:
        """Yield rows `start` to `stop`, a row group at a time. Raises: as `group_at`."""
        while start < stop:
            group = self.group_at(start).within(start, stop)
            yield group
            start += len(group)

    def repeated_rows(self, path: Path) -> Int64Array:
        """Return the rows of a file of the index of documents that have a chunk again.

        They are int64, in no order; the first row of a chunk is not among them. Two documents of
        one source that share a hash, as hardly any do, count as one.

        Raises: MismatchError when it cannot be read.
        """
        try:
            table = pq.read_table(here(path), columns=[*_INDEX_COLUMNS], use_threads=False)
            hashes, rows, chunks = (values_of(table[name]) for name in ("hash", "row", "chunk"))
            sources = ranks_of(table["source"], self.place_by_source)
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise _damage(path, error) from error
        # A file is sorted by hash, source, document and row.
        is_new = np.diff(hashes, prepend=hashes[:1]) != 0
        is_new |= np.diff(sources, prepend=sources[:1]) != 0
        keys = np.cumsum(is_new) << 32 | chunks
        order = np.argsort(keys, kind="stable")
        again = keys[order[1:]] == keys[order[:-1]]
        repeated: Int64Array = rows[order[1:][again]]
        return repeated

    def _read(self, file: pq.ParquetFile, group: int, first: int) -> RowColumns:
        table = file.read_row_group(group, columns=[*_COLUMNS], use_threads=False)
        return RowColumns(
            start=first,
            sources=ranks_of(table["source"], self.place_by_source),
            chunks=values_of(table["chunk"]),
            num_tokens=values_of(table["num_tokens"]),
        )


@contextmanager
def _reading(named: RowFile) -> Iterator[pq.ParquetFile]:
    """Open a file of provenance. Raises: MismatchError for what goes wrong within."""
    try:
        with pq.ParquetFile(here(named.path)) as file:
            expected = named.stop - named.start
            if (got := file.metadata.num_rows) != expected:
                raise _damage(named.path, f"got {got} rows, expected {expected}")
            yield file
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise _damage(named.path, error) from error


def _damage(path: Path, why: object) -> MismatchError:
    return MismatchError(f"{path}: cannot be read: {why}", "build again to write it")


def row_files(
    folder: Path, names: Sequence[str], first_step_by_window: Mapping[str, int], starts: Int64Array
) -> list[RowFile]:
    """Return the files of provenance, by row.

    names: as in the manifest, below `folder`; first_step_by_window: the first step of each window,
    from 0, by the name of its folder; starts: int64 [num_steps + 1], the first row of each step.

    Raises: MismatchError for a file of another name, or a gap.
    """
    found = []
    for name in names:
        window, _, file = name.partition("/")
        try:
            first, last = (int(part) for part in file[6:-8].split("_to_"))
            step = first_step_by_window[window] + first - 1
            start, stop = int(starts[step]), int(starts[step + last - first + 1])
        except (KeyError, ValueError, IndexError) as error:
            raise MismatchError(
                f"{folder / name}: got a file of another name, expected one of the steps of a"
                " window"
            ) from error
        found.append(RowFile(path=folder / name, start=start, stop=stop))
    found.sort(key=lambda one: one.start)
    ends = [0, *(one.stop for one in found)]
    for one, end in zip(found, ends, strict=False):
        if one.start != end:
            raise MismatchError(f"{one.path}: got rows from {one.start}, expected them from {end}")
    return found
