"""A published order, read: rows by their position, by window or by step.

Enters: a folder of parquet files on disk or on the Hub, or one file. Leaves: any of its rows, in
order, as blocks that bound memory. Of the files only those are touched that an answer needs, and of
these only the footer and the row groups that hold it.
"""

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
from pipeline.core.errors import InputError, NotFoundError
from pipeline.core.ragged import Rows
from pipeline.dataset.mds.writer import INDEX_NAME
from pipeline.dataset.parquet.decoder import ColumnDecoder
from pipeline.dataset.parquet.file import ParquetFile
from pipeline.dataset.parquet.windows import CheckpointWindow, OrderFile, arrange, lone
from pipeline.dataset.paths import STEPS
from pipeline.dataset.remote_folder import open_remote
from pipeline.storage import Client, RemoteFolder

CLS_ID = 50281
"""The id that sequences begin with, in the published tokenizer."""
# Footers of remote files that are asked for at once.
_FOOTERS_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class PublishedOrder:
    """The rows of a published order, or of a part of it; a `RowSource`."""

    where: str
    """The path or address that was opened; of a remote one with the commit."""
    parquets: tuple[ParquetFile, ...]
    """The files, in order."""
    decoder: ColumnDecoder
    """What makes rows of columns."""
    client: Client | None = None
    """What asks for remote files."""

    @classmethod
    def open_local(
        cls,
        path: Path,
        *,
        wrap: bool = False,
        cls_id: int = CLS_ID,
        told: Mapping[str, int] | None = None,
    ) -> "PublishedOrder":
        """Open a folder of windows, a window or a parquet file.

        The order of a build that made no step has no files of rows, and is opened as none.

        `wrap`: take negative ids, which a narrow signed type makes of large ones, modulo its width;
        else they are an error. `cls_id`: where a batch that is one flat list is split. `told`: the
        files that a manifest names, and their rows; then no file is looked for before it is read,
        and one that is damaged or missing costs its own rows alone.

        Raises: InputError when there is no order, or files of it are missing.
        """
        path = path.absolute()
        folder = path
        if told is not None:
            files: Sequence[OrderFile] = arrange(str(path), told) if told else ()
        elif path.is_file():
            files = (lone(str(path.parent), path.name),)
            folder = path.parent
        else:
            paths = [*path.glob("*.parquet"), *path.glob("*/*.parquet")]
            names = [one.relative_to(path).as_posix() for one in paths]
            files = () if _has_no_step(path, names) else arrange(str(path), names)
        parquets = tuple(
            ParquetFile(
                named=file,
                where=str(folder / file.path),
                source=partial(pa.memory_map, str(folder / file.path)),
                is_remote=False,
                num_told=None if told is None else told[file.path],
            )
            for file in files
        )
        return cls(
            where=str(path), parquets=parquets, decoder=ColumnDecoder(wrap=wrap, cls_id=cls_id)
        )

    @classmethod
    def open_remote(
        cls, where: str, *, wrap: bool = False, cls_id: int = CLS_ID
    ) -> "PublishedOrder":
        """Open what `open_local` opens, at `hf://datasets/ORG/NAME[@REVISION][/PATH]`.

        Raises: InputError as `open_local`, and when the repository cannot be listed.
        """
        folder = open_remote(where)
        if INDEX_NAME in folder.num_bytes:
            raise InputError(
                f"{folder.where}: got MDS shards, expected published parquet, since shards are read"
                " from disks alone",
                "pull the folder, and name it",
            )
        return cls.of_folder(folder, wrap=wrap, cls_id=cls_id)

    @classmethod
    def of_folder(
        cls, folder: RemoteFolder, *, wrap: bool = False, cls_id: int = CLS_ID
    ) -> "PublishedOrder":
        """Return the order in a folder that was listed. Raises: InputError as `open_local`."""
        names = list(folder.num_bytes)
        if folder.is_file:
            files: Sequence[OrderFile] = [lone(folder.where, path) for path in names]
        else:
            is_empty = names == [Path(STEPS).name] and _is_empty(folder.file(names[0]))
            files = () if is_empty else arrange(folder.where, names)
        parquets = tuple(
            ParquetFile(
                named=file,
                where=f"{folder.where}/{file.path}",
                source=partial(folder.file, file.path),
                is_remote=True,
            )
            for file in files
        )
        return cls(
            where=folder.where,
            parquets=parquets,
            decoder=ColumnDecoder(wrap=wrap, cls_id=cls_id),
            client=folder.client,
        )

    @cached_property
    def files(self) -> tuple[OrderFile, ...]:
        """The files, in order, by their names."""
        return tuple(parquet.named for parquet in self.parquets)

    @cached_property
    def windows(self) -> tuple[CheckpointWindow, ...]:
        """The windows, in order."""
        return tuple(dict.fromkeys(file.window for file in self.files))

    @cached_property
    def phases(self) -> tuple[str, ...]:
        """The names of the phases, in order."""
        return tuple(dict.fromkeys(window.phase for window in self.windows))

    @property
    def num_bytes_read(self) -> int:
        """How many bytes came over the network so far."""
        return 0 if self.client is None else self.client.num_bytes_read

    @property
    def num_wrapped(self) -> int:
        """How many negative ids were read so far; those read twice count twice."""
        return self.decoder.num_wrapped

    @property
    def dtype(self) -> str:
        """The type that ids are stored in, as the first file has it."""
        return self.parquets[0].footer.dtype if self.parquets else "uint32"

    @cached_property
    def granularity(self) -> str:
        """What a row of parquet is, as the first file has it.

        "sequence"; "batch", a list of sequences; or "flat batch", the ids of several in one list.
        """
        return self.parquets[0].granularity(self.decoder) if self.parquets else "sequence"

    @cached_property
    def num_rows(self) -> int:
        """How many sequences there are; all footers are read for it, of batches all files."""
        self._check_windows()
        return self.first_row(len(self.parquets))

    def row_group_start(self, row: int) -> int:
        """Return the first row of the row group that a row is in."""
        group = int(np.searchsorted(self._group_ends, row, side="right"))
        return int(self._group_ends[group - 1]) if group else 0

    def row_group_stop(self, row: int) -> int:
        """Return one past the last row of the row group that a row is in."""
        return int(self._group_ends[np.searchsorted(self._group_ends, row, side="right")])

    def file_of(self, row: int) -> str:
        """Return what the file of a row is called."""
        ends = np.cumsum(
            [one.num_sequences(self.decoder, self.granularity) for one in self.parquets]
        )
        return self.parquets[int(np.searchsorted(ends, row, side="right"))].where

    @cached_property
    def _group_ends(self) -> Int64Array:
        """int64 [num_groups], one past the last row of each row group of all files."""
        self._load_footers(self.parquets)
        groups = [one.num_group_sequences(self.decoder, self.granularity) for one in self.parquets]
        return np.cumsum(np.concatenate([np.empty(0, np.int64), *groups]))

    def first_row(self, file: int) -> int:
        """Return how many rows there are in the files before the one of this index."""
        before = self.parquets[:file]
        self._load_footers(before)
        return sum(one.num_sequences(self.decoder, self.granularity) for one in before)

    def phase(self, name: str) -> "PublishedOrder":
        """Return the windows of one phase; its rows count from 0.

        Raises: NotFoundError when there is none.
        """
        chosen = [one for one in self.parquets if one.named.window.phase == name]
        return self._part(chosen, f"phase {name!r}", " or ".join(map(repr, self.phases)))

    def window(self, number: int) -> "PublishedOrder":
        """Return one window; its rows count from 0, and no file of another is touched.

        Raises: NotFoundError when there is none; InputError when there are several phases.
        """
        self._check_one_phase()
        known = ""
        if self.windows:
            known = f"{self.windows[0].number} to {self.windows[-1].number}"
        chosen = [one for one in self.parquets if one.named.window.number == number]
        return self._part(chosen, f"window {number}", known)

    def rows_of_window(self, number: int) -> tuple[int, int]:
        """Return the first row of a window and one past its last. Raises: as `window`."""
        part = self.window(number)
        self._check_windows()
        start = self.first_row(self.parquets.index(part.parquets[0]))
        return start, start + part.num_rows

    def steps_of(self, start: int, stop: int) -> tuple[int, int]:
        """Return the first row of step `start`, and that of step `stop`, which is not part of it.

        Steps count from 1 over all windows; those of one window, or of one file, are its labels.

        Raises: NotFoundError for steps beyond the order; InputError when there are several phases.
        """
        self._check_one_phase()
        self._check_windows()
        ranges = self._step_ranges()
        first, last = (ranges[0][0], ranges[-1][1]) if ranges else (1, 1)
        if not first <= start <= stop <= last:
            raise NotFoundError(
                f"{self.where}: got steps {start} to {stop}, expected a range within {first} to"
                f" {last}"
            )
        return self._row_of_step(start, ranges), self._row_of_step(stop, ranges)

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        """Yield rows `start` to `stop` in order, in blocks of about a million ids.

        Raises: NotFoundError for rows beyond the order, before the first block unless a row of
        parquet is a batch; InputError when rows cannot be read.
        """
        self._check_windows()
        self._check_range(start, stop, stop)
        if self.granularity == "sequence":
            self._check_reach(start, stop)
        first = 0
        for parquet in self.parquets:
            if first >= stop:
                return
            first += yield from parquet.read(
                start - first, stop - first, self.decoder, self.granularity
            )
        self._check_range(start, stop, first)

    def _check_reach(self, start: int, stop: int) -> None:
        """Check that there are rows `start` to `stop`, by as few footers as tell it."""
        num_rows, at_once = 0, 1 if self.client is None else _FOOTERS_AT_ONCE
        for first in range(0, len(self.parquets), at_once):
            if num_rows >= stop:
                return
            some = self.parquets[first : first + at_once]
            self._load_footers(some)
            num_rows += sum(one.num_sequences(self.decoder, self.granularity) for one in some)
        self._check_range(start, stop, num_rows)

    def _check_range(self, start: int, stop: int, num_rows: int) -> None:
        if not 0 <= start <= stop <= num_rows:
            raise NotFoundError(
                f"{self.where}: got rows {start} to {stop}, expected a range within 0 to {num_rows}"
            )

    def _load_footers(self, parquets: Sequence[ParquetFile]) -> None:
        """Read the footers of remote files, several at once."""
        if self.client is not None and len(parquets) > 1:
            with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
                list(pool.map(lambda one: one.footer, parquets))

    def _part(self, parquets: Sequence[ParquetFile], what: str, known: str) -> "PublishedOrder":
        if not parquets:
            told = f"expected {known}" if known else "an order without any"
            raise NotFoundError(f"{self.where}: got {what}, {told}")
        return replace(self, parquets=tuple(parquets))

    def _check_one_phase(self) -> None:
        if len(self.phases) > 1:
            raise InputError(
                f"{self.where}: got phases {', '.join(self.phases)}, expected one, since each"
                " counts its windows and steps from 1",
                "name the folder of a window",
            )

    def _check_windows(self) -> None:
        """Refuse to count rows over a window that is not there; one alone needs no other."""
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

    def _step_ranges(self) -> list[tuple[int, int]]:
        """Return of each file its first step and one past its last, counted over all windows."""
        ranges: list[tuple[int, int]] = []
        base = 0
        for before, parquet in zip([None, *self.parquets], self.parquets, strict=False):
            if before is not None and before.named.window != parquet.named.window:
                base = ranges[-1][1] - 1
            first, last = parquet.step_range()
            ranges.append((base + first, base + last))
        return ranges

    def _row_of_step(self, step: int, ranges: Sequence[tuple[int, int]]) -> int:
        for index, (first, last) in enumerate(ranges):
            if step == first:
                return self.first_row(index)
            if step < last:
                parquet = self.parquets[index]
                label = parquet.step_range()[0] + step - first
                within = parquet.row_of_step(label, self.decoder, self.granularity)
                return self.first_row(index) + within
        return self.first_row(len(ranges))


def _has_no_step(folder: Path, names: Sequence[str]) -> bool:
    """Tell whether a folder holds a table of steps alone, and it has none."""
    if list(names) != [Path(STEPS).name]:
        return False
    return _is_empty(folder / names[0])


def _is_empty(source: Any) -> bool:
    try:
        return int(pq.read_metadata(source).num_rows) == 0
    except (pa.ArrowException, OSError):
        return False
