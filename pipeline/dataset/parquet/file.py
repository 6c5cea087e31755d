"""One parquet file of an order, local or remote: its footer and the sequences of its row groups.

Row groups are read no further than needed; footers are small enough to keep those of thousands of
files.
"""

import io
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.arrays import Int64Array
from pipeline.core.errors import InputError, MismatchError
from pipeline.core.ragged import Rows
from pipeline.dataset.arrow_columns import values_of
from pipeline.dataset.parquet.decoder import ColumnDecoder, nesting
from pipeline.dataset.parquet.windows import OrderFile

IDS, STEP = "input_ids", "step"
# pyarrow reads 64 KiB, much for a small file; a footer of ten row groups is 3 KiB.
_TAIL_BYTES = 4 << 10
# A block of 4 MiB stays in the processor's caches until it is used.
_BLOCK_IDS = 1 << 20
# One request each; with row groups of published size a column chunk is a gigabyte.
_REMOTE_BUFFER_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Footer:
    """The part of a footer that reading needs."""

    num_rows: Int64Array
    """int64 [num_groups], rows of parquet, which may be batches of sequences."""
    num_ids: Int64Array
    """int64 [num_groups], ids of each row group, plus one for each empty list."""
    steps: Int64Array | None
    """int64 [num_groups, 2], first and last step of each; None if any is unknown."""
    depth: int
    """The nesting depth of the lists of ids."""
    dtype: str
    metadata: Any
    """pyarrow's own, of a remote file, which is not read again; else None."""


@dataclass(kw_only=True)
class ParquetFile:
    """A file of an order."""

    named: OrderFile
    where: str
    source: Callable[[], Any]
    is_remote: bool
    decoder: ColumnDecoder
    """Turns its column of ids into rows; shared by the files of an order."""
    num_expected: int | None = None
    """Its number of sequences, a row of parquet each, if a manifest has it."""
    _counts: dict[int, int] = field(default_factory=dict, init=False, repr=False)
    """Number of sequences by row group of batches, of those that were read."""

    @cached_property
    def footer(self) -> Footer:
        """The footer. Several threads may read those of several files.

        Raises: InputError when this is no parquet file, or lacks the columns of an order;
        MismatchError when it does not have the rows that a manifest says.
        """
        with self._failing():
            footer = _read_footer(self.where, self.source(), is_remote=self.is_remote)
        num_rows = int(footer.num_rows.sum())
        if self.num_expected is not None and (footer.depth, num_rows) != (1, self.num_expected):
            raise MismatchError(
                f"{self.where}: got {num_rows:,} rows, expected {self.num_expected:,} by"
                " the manifest",
                "build or pull the file again",
            )
        return footer

    def granularity(self) -> str:
        """Return what a row of parquet is: "sequence", "batch" or "flat batch".

        Lists of lists are batches. A list is a whole batch if no step has two rows and it starts
        with CLS and has another.
        """
        if self.num_expected is not None:
            return "sequence"
        if self.footer.depth == 2:
            return "batch"
        if not self.footer.num_rows[:1].any():
            return "sequence"
        if self.footer.steps is not None:
            low, high = self.footer.steps[0].tolist()
            if self.footer.num_rows[0] > high - low + 1:
                return "sequence"
        steps = self._steps(0)
        if len(np.unique(steps)) < len(steps):
            return "sequence"
        with self._opened() as file:
            batch = self._next(self._batches(file, 0, num_rows=1))
            # A decoder of its own: this row is read again and counted then.
            rows = replace(self.decoder).rows(self.where, batch.column(0), "sequence")
        is_cls = rows.values == self.decoder.cls_id
        return "flat batch" if is_cls[:1].all() and np.count_nonzero(is_cls) > 1 else "sequence"

    def num_sequences(self, granularity: str) -> int:
        """Return the number of sequences; to count those of batches, all are read once."""
        if self.num_expected is not None:
            return self.num_expected
        return int(self.num_group_sequences(granularity).sum())

    def num_group_sequences(self, granularity: str) -> Int64Array:
        """Return the number of sequences of each row group: int64 [num_groups].

        An unreadable file counts as one group, if a manifest has its number of rows.
        """
        if self.num_expected is not None:
            try:
                return self.footer.num_rows
            except (InputError, MismatchError):
                return np.array([self.num_expected])
        groups = range(len(self.footer.num_rows))
        return np.array([self._count(one, granularity) for one in groups], np.int64)

    def read(self, start: int, stop: int, granularity: str) -> Generator[Rows, None, int]:
        """Yield the sequences within `start` to `stop`; return the number of those up to there.

        Row groups before `start` are skipped if their number of sequences is known.

        Raises: InputError when the file is damaged or out of reach; as `footer`.
        """
        if self.num_expected is not None and self.num_expected <= start:
            return self.num_expected
        first, groups = 0, list(range(len(self.footer.num_rows)))
        while groups and (num := self._known(groups[0], granularity)) is not None:
            if first + num > start:
                break
            first += num
            del groups[0]
        if not groups or first >= stop:
            return first
        with self._opened() as file:
            for group in groups:
                for rows in self._blocks(file, group, granularity):
                    begin, end = max(start - first, 0), min(stop - first, len(rows))
                    if begin < end:
                        yield rows.slice(begin, end)
                    first += len(rows)
                    if first >= stop:
                        return first
        return first

    def _steps(self, group: int) -> Int64Array:
        with self._opened() as file, self._failing():
            column = file.read_row_group(group, columns=[STEP], use_threads=False)[STEP]
        if column.null_count:
            raise InputError(f"{self.where}: got a {STEP} that is null, expected a number")
        stored = values_of(column)
        _check_step(self.where, int(stored.max(initial=0)))
        steps = stored.astype(np.int64)
        if len(steps) > 1 and np.diff(steps).min() < 0:
            raise InputError(f"{self.where}: got steps that fall, expected rows in order of steps")
        return steps

    def _known(self, group: int, granularity: str) -> int | None:
        """Return the number of sequences of a row group if it is known without reading."""
        if granularity == "sequence":
            return int(self.footer.num_rows[group])
        return self._counts.get(group)

    def _count(self, group: int, granularity: str) -> int:
        """Return the number of sequences of a row group, which is read if it has to be."""
        known = self._known(group, granularity)
        if known is None:
            with self._opened() as file:
                for _ in self._blocks(file, group, granularity):
                    pass
            known = self._counts[group]
        return known

    def _blocks(self, file: pq.ParquetFile, group: int, granularity: str) -> Iterator[Rows]:
        """Yield a row group in blocks of about a million ids."""
        mean = int(self.footer.num_ids[group] // max(self.footer.num_rows[group], 1))
        batches = self._batches(file, group, num_rows=max(1, _BLOCK_IDS // max(mean, 1)))
        count = 0
        while (batch := self._next(batches)) is not None:
            rows = self.decoder.rows(self.where, batch.column(0), granularity)
            count += len(rows)
            yield rows
        if granularity != "sequence":
            self._counts[group] = count

    @staticmethod
    def _batches(file: pq.ParquetFile, group: int, *, num_rows: int) -> Iterator[Any]:
        batches: Iterator[Any] = file.iter_batches(
            batch_size=num_rows, row_groups=[group], columns=[IDS], use_threads=False
        )
        return batches

    def _next(self, batches: Iterator[Any]) -> Any:
        # Only errors of pyarrow are explained, not those of whoever uses what is yielded.
        with self._failing():
            return next(batches, None)

    @contextmanager
    def _opened(self) -> Iterator[pq.ParquetFile]:
        with self._failing():
            file = pq.ParquetFile(
                self.source(),
                metadata=self.footer.metadata,
                buffer_size=_REMOTE_BUFFER_BYTES if self.is_remote else 0,
                pre_buffer=False,  # else a whole column chunk is in memory
            )
        with file:
            yield file

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise InputError(f"{self.where}: is missing", "build or pull it again") from error
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{self.where}: got a file that cannot be read as parquet: {error}", "pull it again"
            ) from error


def _read_footer(where: str, source: Any, *, is_remote: bool) -> Footer:
    """Read the footer of a file; of a remote one, little more than its bytes."""
    metadata = pq.read_metadata(_tail(source) if is_remote else source)
    schema = metadata.schema.to_arrow_schema()
    for name in (IDS, STEP):
        if schema.names.count(name) != 1:
            raise InputError(
                f"{where}: got columns {', '.join(schema.names)}, expected {IDS} and {STEP}"
            )
    depth, kind = nesting(schema.field(IDS).type)
    if depth not in (1, 2) or not pa.types.is_integer(kind):
        raise InputError(
            f"{where}: got {IDS} of type {schema.field(IDS).type}, expected lists of"
            " integers, or lists of lists"
        )
    if not pa.types.is_integer(schema.field(STEP).type):
        raise InputError(
            f"{where}: got {STEP} of type {schema.field(STEP).type}, expected integers"
        )
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    leaves = [column.path.partition(".")[0] for column in metadata.schema]
    ids, step = leaves.index(IDS), leaves.index(STEP)
    statistics = [group.column(step).statistics for group in groups]
    steps = None
    if all(one is not None and one.has_min_max for one in statistics):
        for one in statistics:
            _check_step(where, one.max)
        steps = np.array([(one.min, one.max) for one in statistics], np.int64).reshape(-1, 2)
    return Footer(
        num_rows=np.array([group.num_rows for group in groups], np.int64),
        num_ids=np.array([group.column(ids).num_values for group in groups], np.int64),
        steps=steps,
        depth=depth,
        dtype=str(kind),
        metadata=metadata if is_remote else None,
    )


def _check_step(where: str, step: int) -> None:
    if step > np.iinfo(np.int64).max:
        raise InputError(f"{where}: got {STEP} {step}, expected numbers below 2^63")


def _tail(file: Any) -> BinaryIO:
    """Return the end of a remote file: the footer and little more."""
    start = max(0, file.seek(0, io.SEEK_END) - _TAIL_BYTES)
    file.seek(start)
    data = file.read()
    # The length of the footer, then four magic bytes.
    missing = int.from_bytes(data[-8:-4], "little") + 8 - len(data)
    if 0 < missing <= start:
        file.seek(start - missing)
        data = file.read(missing) + data
    return io.BytesIO(data)
