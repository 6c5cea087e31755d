"""One parquet file of an order: its footer, its row groups, and the steps of its rows.

Enters: a file on disk or a remote one. Leaves: its sequences, read by row group and no further than
they are wanted; where steps begin. A footer is read when it is first needed.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.arrays import Int64Array
from pipeline.core.errors import InputError, MismatchError
from pipeline.core.ragged import Rows
from pipeline.dataset.parquet.decoder import ColumnDecoder, plain
from pipeline.dataset.parquet.footer import IDS, STEP, Footer, check_step, read_footer
from pipeline.dataset.parquet.windows import OrderFile

# A block of 4 MiB stays in the caches between decoding and what is done with it.
_BLOCK_IDS = 1 << 20
# One request each; with row groups of published size a column chunk is a gigabyte.
_REMOTE_BUFFER_BYTES = 16 << 20


@dataclass(kw_only=True)
class ParquetFile:
    """A file of an order; threads may ask for footers of several at once."""

    named: OrderFile
    """Its path and what its name says."""
    where: str
    """How it is called in errors."""
    source: Callable[[], Any]
    """Opens it for pyarrow."""
    is_remote: bool
    """Whether bytes are dear."""
    num_told: int | None = None
    """How many sequences it holds, a row of parquet each, where a manifest says so."""
    _firsts: dict[int, Int64Array] = field(default_factory=dict, init=False, repr=False)
    """By row group of batches that was read, where each batch starts, counting sequences."""

    @cached_property
    def footer(self) -> Footer:
        """What the footer says.

        Raises: InputError for what is no parquet, or without the columns of an order;
        MismatchError where it is another than a manifest says.
        """
        with self._failing():
            footer = read_footer(self.where, self.source(), is_remote=self.is_remote)
        num_rows = int(footer.num_rows.sum())
        if self.num_told is not None and (footer.depth, num_rows) != (1, self.num_told):
            raise MismatchError(
                f"{self.where}: got {num_rows:,} rows, expected {self.num_told:,} by the manifest",
                "build or pull the file again",
            )
        return footer

    def granularity(self, decoder: ColumnDecoder) -> str:
        """Return "sequence", "batch" or "flat batch".

        Lists of lists are batches. A list is a whole batch if no step has two rows and it begins
        with CLS and has another.
        """
        if self.num_told is not None:
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
        # A decoder of its own, since this row will be read again and counted then.
        with self._opened() as file:
            rows, _ = next(self._blocks(file, 0, replace(decoder), "sequence", num_rows=1))
        is_cls = rows.values == decoder.cls_id
        return "flat batch" if is_cls[:1].all() and np.count_nonzero(is_cls) > 1 else "sequence"

    def num_sequences(self, decoder: ColumnDecoder, granularity: str) -> int:
        """Return how many sequences there are; of batches all have to be read for it once."""
        if self.num_told is not None:
            return self.num_told
        return int(self.num_group_sequences(decoder, granularity).sum())

    def num_group_sequences(self, decoder: ColumnDecoder, granularity: str) -> Int64Array:
        """Return how many sequences there are in each row group: int64 [num_groups].

        A file of which a manifest tells how many it holds is one group where it cannot be read.
        """
        if self.num_told is not None:
            try:
                return self.footer.num_rows
            except (InputError, MismatchError):
                return np.array([self.num_told])
        num_rows = enumerate(self.footer.num_rows.tolist())
        counts = [self._sequences(group, num, decoder, granularity) for group, num in num_rows]
        return np.array(counts, np.int64)

    def read(
        self, start: int, stop: int, decoder: ColumnDecoder, granularity: str
    ) -> Generator[Rows, None, int]:
        """Yield sequences `start` to `stop`, those there are; return how many were passed.

        Row groups before them are not read, if it is known without how many they hold.

        Raises: InputError, here as elsewhere, when the file is damaged or remote and out of reach;
        as `footer`.
        """
        if self.num_told is not None and self.num_told <= start:
            return self.num_told
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
                for rows, _ in self._blocks(file, group, decoder, granularity):
                    begin, end = max(start - first, 0), min(stop - first, len(rows))
                    if begin < end:
                        yield _part(rows, begin, end)
                    first += len(rows)
                    if first >= stop:
                        return first
        return first

    def row_of_step(self, step: int, decoder: ColumnDecoder, granularity: str) -> int:
        """Return the first sequence of a step.

        Of the column of steps only the row group is read in which that step begins, or all where
        the footer does not say of which steps they are.

        Raises: InputError when the file has no row of it.
        """
        sequence = 0
        for group, num_rows in enumerate(self.footer.num_rows.tolist()):
            row = self._row_in_group(group, step)
            sequence += self._sequences(group, row, decoder, granularity)
            if row < num_rows:
                return sequence
        raise InputError(
            f"{self.where}: got no rows of step {step}, expected some, as its name says",
            "pull it again",
        )

    def _row_in_group(self, group: int, step: int) -> int:
        """Return the first row of a row group whose step is at least `step`."""
        if self.footer.steps is not None:
            low, high = self.footer.steps[group].tolist()
            if high < step:
                return int(self.footer.num_rows[group])
            if low == step:
                return 0
        steps = self._steps(group)
        row = int(np.searchsorted(steps, step))
        if row < len(steps) and steps[row] != step:
            raise InputError(
                f"{self.where}: got step {steps[row]}, expected step {step} before it, as its name"
                " says",
                "pull it again",
            )
        return row

    def step_range(self) -> tuple[int, int]:
        """Return the first step and one past the last, by name or else by what the file says."""
        named = self.named
        if named.first_step is not None and named.last_step is not None:
            return named.first_step, named.last_step + 1
        footer = self.footer
        if not footer.num_rows[:1].any():
            return 1, 1
        if footer.steps is not None:
            return int(footer.steps[0, 0]), int(footer.steps[-1, 1]) + 1
        return int(self._steps(0)[0]), int(self._steps(len(footer.num_rows) - 1)[-1]) + 1

    def _steps(self, group: int) -> Int64Array:
        """Return the steps of the rows of a row group, which must not fall."""
        with self._opened() as file, self._failing():
            column = file.read_row_group(group, columns=[STEP], use_threads=False)[STEP]
        if column.null_count:
            raise InputError(f"{self.where}: got a {STEP} that is null, expected a number")
        chunks = [plain(chunk) for chunk in column.chunks]
        check_step(self.where, max((int(chunk.max(initial=0)) for chunk in chunks), default=0))
        steps = np.concatenate([np.empty(0, np.int64), *chunks], dtype=np.int64, casting="unsafe")
        if len(steps) > 1 and np.diff(steps).min() < 0:
            raise InputError(f"{self.where}: got steps that fall, expected rows in order of steps")
        return steps

    def _known(self, group: int, granularity: str) -> int | None:
        """Return the number of sequences of a row group if nothing has to be read for it."""
        if granularity == "sequence":
            return int(self.footer.num_rows[group])
        return int(self._firsts[group][-1]) if group in self._firsts else None

    def _sequences(
        self, group: int, num_rows: int, decoder: ColumnDecoder, granularity: str
    ) -> int:
        """Return how many sequences the first rows of a row group hold."""
        if granularity == "sequence":
            return num_rows
        if group not in self._firsts:
            with self._opened() as file:
                for _ in self._blocks(file, group, decoder, granularity):
                    pass
        return int(self._firsts[group][num_rows])

    def _blocks(
        self,
        file: pq.ParquetFile,
        group: int,
        decoder: ColumnDecoder,
        granularity: str,
        num_rows: int | None = None,
    ) -> Iterator[tuple[Rows, Int64Array]]:
        """Yield a row group in blocks, `num_rows` at a time or as many as make a block."""
        footer = self.footer
        if num_rows is None:
            mean = max(1, int(footer.num_ids[group] // max(footer.num_rows[group], 1)))
            num_rows = max(1, _BLOCK_IDS // mean)
        firsts = [np.zeros(1, np.int64)]
        batches = file.iter_batches(
            batch_size=num_rows, row_groups=[group], columns=[IDS], use_threads=False
        )
        while (batch := self._next(batches)) is not None:
            rows, starts = decoder.rows(self.where, batch.column(0), granularity)
            firsts.append(starts[1:] + firsts[-1][-1])
            yield rows, starts
        if granularity != "sequence":
            self._firsts[group] = np.concatenate(firsts)

    def _next(self, batches: Iterator[Any]) -> Any:
        # Only what pyarrow does is explained, and not what is done with what was yielded.
        with self._failing():
            return next(batches, None)

    @contextmanager
    def _opened(self) -> Iterator[pq.ParquetFile]:
        with self._failing():
            file = pq.ParquetFile(
                self.source(),
                metadata=self.footer.metadata,
                buffer_size=_REMOTE_BUFFER_BYTES if self.is_remote else 0,
                pre_buffer=False,  # else a column chunk is in memory whole
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


def _part(rows: Rows, start: int, stop: int) -> Rows:
    offsets = rows.offsets[start : stop + 1]
    return Rows(values=rows.values[offsets[0] : offsets[-1]], offsets=offsets - offsets[0])
