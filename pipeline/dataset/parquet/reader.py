"""Read a published order: rows by range and by number, windows, phases.

Only the files that an answer needs are touched, of these the footer and the needed row groups.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.arrays import Int64Array
from pipeline.core.errors import InputError, MismatchError, NotFoundError
from pipeline.core.prefetch import Prefetcher
from pipeline.core.ragged import Rows
from pipeline.dataset.order_folder import Folder, LocalFolder
from pipeline.dataset.parquet.decoder import ColumnDecoder
from pipeline.dataset.parquet.file import ParquetFile
from pipeline.dataset.parquet.windows import CheckpointWindow, OrderFile, arrange, lone
from pipeline.dataset.paths import STEPS
from pipeline.dataset.rows import check_numbers, check_range, join_rows, select_rows
from pipeline.storage import RemoteFolder

CLS_ID = 50281
"""The first id of a sequence, in the published tokenizer."""
# Of remote files.
_FOOTERS_AT_ONCE = 8
# No sequence is as long.
_MOST_IDS = 1 << 26


@dataclass(frozen=True, kw_only=True)
class PublishedOrder:
    """The rows of a published order, or of a part of it; a `RowReader`."""

    folder: Folder
    parquets: tuple[ParquetFile, ...]
    decoder: ColumnDecoder

    @classmethod
    def of(
        cls, folder: Folder, *, num_rows: Mapping[str, int] | None = None, cls_id: int = CLS_ID
    ) -> "PublishedOrder":
        """Return the order in a listed folder: windows, one window, or one file.

        num_rows: rows by file, from a manifest; a damaged or missing file then costs its own rows
        alone. cls_id: where a batch that is one flat list is split.

        Raises: InputError when there is no order, or files of it are missing.
        """
        names = list(folder.num_bytes if num_rows is None else num_rows)
        if folder.is_file:
            files: Sequence[OrderFile] = [lone(folder.where, path) for path in names]
        elif num_rows == {} or _has_no_step(folder, names):
            files = ()
        else:
            files = arrange(folder.where, names)
        decoder = ColumnDecoder(cls_id=cls_id)
        parquets = tuple(
            ParquetFile(
                named=file,
                where=f"{folder.where}/{file.path}",
                source=partial(folder.file, file.path),
                is_remote=isinstance(folder, RemoteFolder),
                decoder=decoder,
                num_expected=None if num_rows is None else num_rows[file.path],
            )
            for file in files
        )
        return cls(folder=folder, parquets=parquets, decoder=decoder)

    @property
    def where(self) -> str:
        """The path or address, of the Hub with the commit."""
        lone_file = self.folder.is_file and isinstance(self.folder, LocalFolder)
        return self.parquets[0].where if lone_file else self.folder.where

    @cached_property
    def files(self) -> tuple[OrderFile, ...]:
        return tuple(parquet.named for parquet in self.parquets)

    @cached_property
    def windows(self) -> tuple[CheckpointWindow, ...]:
        return tuple(dict.fromkeys(file.window for file in self.files))

    @cached_property
    def phases(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(window.phase for window in self.windows))

    @property
    def num_wrapped(self) -> int:
        """Negative ids that were read so far; those read twice count twice."""
        return self.decoder.num_wrapped

    @property
    def dtype(self) -> str:
        """The type of the stored ids, from the first file."""
        return self.parquets[0].footer.dtype if self.parquets else "uint32"

    @cached_property
    def granularity(self) -> str:
        """What a row is: "sequence", "batch" of several, or "flat batch", their ids in one list."""
        return self.parquets[0].granularity() if self.parquets else "sequence"

    @cached_property
    def num_rows(self) -> int:
        """The number of sequences; needs all footers, and all files if rows are batches."""
        self._check_windows()
        return self.first_row(len(self.parquets))

    def row_group_start(self, row: int) -> int:
        group = int(np.searchsorted(self._group_ends, row, side="right"))
        return int(self._group_ends[group - 1]) if group else 0

    def row_group_stop(self, row: int) -> int:
        """Return one past the last row of the row group of a row."""
        return int(self._group_ends[np.searchsorted(self._group_ends, row, side="right")])

    def file_of(self, row: int) -> str:
        ends = np.cumsum([one.num_sequences(self.granularity) for one in self.parquets])
        return self.parquets[int(np.searchsorted(ends, row, side="right"))].where

    @cached_property
    def _group_ends(self) -> Int64Array:
        """int64 [num_groups], one past the last row of each row group of all files."""
        self._load_footers(self.parquets)
        groups = [one.num_group_sequences(self.granularity) for one in self.parquets]
        return np.cumsum(np.concatenate([np.empty(0, np.int64), *groups]))

    def first_row(self, file: int) -> int:
        before = self.parquets[:file]
        self._load_footers(before)
        return sum(one.num_sequences(self.granularity) for one in before)

    def phase(self, name: str) -> "PublishedOrder":
        """Return the windows of one phase; its rows count from 0. Raises: NotFoundError."""
        chosen = [one for one in self.parquets if one.named.window.phase == name]
        return self._part(chosen, f"phase {name!r}", " or ".join(map(repr, self.phases)))

    def window(self, number: int) -> "PublishedOrder":
        """Return one window; its rows count from 0, and no file of another is touched.

        Raises: NotFoundError when there is none; InputError when there are several phases.
        """
        if len(self.phases) > 1:
            raise InputError(
                f"{self.where}: got phases {', '.join(self.phases)}, expected one, since each"
                " counts its windows and steps from 1",
                "name the folder of a window",
            )
        known = ""
        if self.windows:
            known = f"{self.windows[0].number} to {self.windows[-1].number}"
        chosen = [one for one in self.parquets if one.named.window.number == number]
        return self._part(chosen, f"window {number}", known)

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        """Yield rows `start` to `stop` in blocks of about a million ids.

        Raises: NotFoundError for rows beyond the order, before the first block unless a row of
        parquet is a batch; InputError when rows cannot be read.
        """
        self._check_windows()
        check_range(self.where, start, stop, stop)
        if self.granularity == "sequence":
            self._check_reach(start, stop)
        first = 0
        for parquet in self.parquets:
            if first >= stop:
                return
            first += yield from parquet.read(start - first, stop - first, self.granularity)
        check_range(self.where, start, stop, first)

    def take(self, rows: Int64Array) -> Rows:
        """Return rows by number, rising. Not thread-safe. Raises: as `RowReader.take`."""
        return self._cursor.take(rows)

    @cached_property
    def _cursor(self) -> "Cursor":
        return Cursor(self)

    def _check_reach(self, start: int, stop: int) -> None:
        """Check that rows `start` to `stop` exist, from as few footers as possible."""
        num_rows, at_once = 0, 1 if self.folder.client is None else _FOOTERS_AT_ONCE
        for first in range(0, len(self.parquets), at_once):
            if num_rows >= stop:
                return
            some = self.parquets[first : first + at_once]
            self._load_footers(some)
            num_rows += sum(one.num_sequences(self.granularity) for one in some)
        check_range(self.where, start, stop, num_rows)

    def _load_footers(self, parquets: Sequence[ParquetFile]) -> None:
        """Read the footers of remote files, several at once."""
        if self.folder.client is not None and len(parquets) > 1:
            with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
                list(pool.map(lambda one: one.footer, parquets))

    def _part(self, parquets: Sequence[ParquetFile], what: str, known: str) -> "PublishedOrder":
        if not parquets:
            expected = f"expected {known}" if known else "an order without any"
            raise NotFoundError(f"{self.where}: got {what}, {expected}")
        return replace(self, parquets=tuple(parquets))

    def _check_windows(self) -> None:
        """Raise InputError if rows would be counted over a missing window."""
        if len(self.windows) == 1:
            return
        for phase in self.phases:
            numbers = [window.number for window in self.windows if window.phase == phase]
            missing = next((n for n, number in enumerate(numbers, 1) if n != number), None)
            if missing is not None:
                raise InputError(
                    f"{self.where}: got no window {missing} of {phase}, expected all of 1 to"
                    f" {numbers[-1]}, since rows are counted over them",
                    "pull it, or ask for a window",
                )


class Cursor:
    """Rows of an order by number: one sequential read goes on until a jump starts another.

    A row of parquet costs its row group; while one block is used, the next is decoded. Not
    thread-safe; a forked process starts a read of its own.
    """

    def __init__(self, order: PublishedOrder) -> None:
        self.order = order
        self._ahead: Prefetcher[Rows] | None = None
        # Rows that could not be read, and why: damage costs a whole row group.
        self._damage: tuple[int, int, InputError | MismatchError] | None = None
        self._reset(0)

    def __del__(self) -> None:
        self._drop_ahead()

    def __reduce__(self) -> tuple[Any, ...]:
        return Cursor, (self.order,)

    def take(self, rows: Int64Array) -> Rows:
        """Return rows by number: int64 [num_rows], rising. Raises: as `RowReader.take`."""
        check_numbers(rows, self.order.num_rows)
        self._check_damage(rows)
        parts: list[Rows] = []
        left = rows
        while len(left):
            part = self._take_run(left)
            parts.append(part)
            left = left[len(part) :]
        taken = join_rows(parts)
        lengths = taken.lengths()
        bad = np.flatnonzero((lengths == 0) | (lengths > _MOST_IDS))
        if len(bad):
            row = int(rows[bad[0]])
            raise InputError(
                f"{self.order.file_of(row)}: row {row:,}: got {int(lengths[bad[0]]):,} ids,"
                f" expected at least one and at most {_MOST_IDS:,}",
                "pull the file again, or leave the row out where it was made",
            )
        return taken

    def _take_run(self, rows: Int64Array) -> Rows:
        """Return the first of some rows, as many as one read gives without an unneeded group."""
        first = int(rows[0])
        if first < self._first or self.order.row_group_start(first) > self._stop:
            self._reset(first)
        while self._blocks and self._first + len(self._blocks[0]) <= first:
            self._first += len(self._blocks.popleft())
        while self._stop <= rows[-1]:
            num_had = int(np.searchsorted(rows, self._stop))
            # Row groups without a wanted row may be damaged, or remote.
            if num_had and self.order.row_group_start(int(rows[num_had])) > self._stop:
                return self._select(rows[:num_had])
            self._read_on(first)
        return self._select(rows)

    def _reset(self, row: int) -> None:
        self._drop_ahead()
        self._blocks: deque[Rows] = deque()
        # Rows `_first` to `_stop` are in the blocks.
        self._first = self._stop = row

    def _drop_ahead(self) -> None:
        # A read of the process that this was forked from is not ours to end.
        if self._ahead is not None and self._ahead.is_here:
            self._ahead.drop()
        self._ahead = None

    def _read_on(self, wanted: int) -> None:
        """Read a block; keep it unless it ends before the first wanted row."""
        if self._ahead is None or not self._ahead.is_here:
            self._read = self.order.read(self._stop, self.order.num_rows)
            self._begin_next()
        assert self._ahead is not None
        try:
            block = self._ahead.take()
        except (InputError, MismatchError) as error:
            # A remote file may be reachable the next time.
            if isinstance(self.order.folder, LocalFolder):
                self._damage = (self._stop, self.order.row_group_stop(self._stop), error)
            self._reset(self._stop)
            raise
        self._stop += len(block)
        if self._stop <= wanted:
            self._first = self._stop
        else:
            self._blocks.append(block)
        if self._stop < self.order.num_rows:
            self._begin_next()

    def _begin_next(self) -> None:
        read = self._read
        self._ahead = Prefetcher(lambda: next(read), discard=lambda block: None)

    def _check_damage(self, rows: Int64Array) -> None:
        """Raise the known error of damaged rows, without reading up to them again."""
        if self._damage is not None:
            start, stop, error = self._damage
            if np.searchsorted(rows, start) < np.searchsorted(rows, stop):
                raise type(error)(error.message, error.hint) from error.__cause__

    def _select(self, rows: Int64Array) -> Rows:
        parts, first = [], self._first
        for block in self._blocks:
            start, stop = np.searchsorted(rows, (first, first + len(block)))
            if start < stop:
                parts.append(select_rows(block, rows[start:stop] - first))
            first += len(block)
        return join_rows(parts)


def _has_no_step(folder: Folder, names: Sequence[str]) -> bool:
    """Return whether a folder is of a build without steps: it has only an empty table of them."""
    if names != [Path(STEPS).name]:
        return False
    try:
        return int(pq.read_metadata(folder.file(names[0])).num_rows) == 0
    except (pa.ArrowException, OSError):
        return False
