"""An order that is shown: opened once, with what of it is missing or damaged.

Opening reads a manifest, a table of steps and the sizes of files, and no pass over the rows.
"""

import threading
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import dataset
from pipeline.audit.search import SearchIndex, find_index
from pipeline.audit.trace import Positions, Trace
from pipeline.config import checkpoint_prefix
from pipeline.core.arrays import Int64Array
from pipeline.core.digest import fingerprint
from pipeline.core.errors import MismatchError, NotFoundError, PipelineError
from pipeline.dataset import (
    MANIFEST,
    PROVENANCE,
    STEPS,
    TOKENIZER,
    CheckedRows,
    Ledger,
    Manifest,
    Order,
    RowReader,
    read_manifest,
    values_of,
)
from pipeline.dataset.provenance import ColumnReader, RowColumns, row_files
from pipeline.feed import SpecialIds, special_ids
from pipeline.show.opened_parts import OpenedParts, State
from pipeline.show.strip import Strip, StripMaker, add_rows, empty_strip
from pipeline.show.token_text import TokenText
from pipeline.stages.tokenizer import EMBEDDED, Tokenizer, load_tokenizer

NUM_COLOURS = 10
"""So many sources have a colour of their own, in the page and in reports."""
# Of 8,192 rows, at 12 bytes: 100 MiB.
_MOST_GROUPS = 1024
_SURVEYED_GROUPS = 8
_BUILD_AGAIN = "build again to write it; `ettin-data verify` names all files that differ"


@dataclass(kw_only=True)
class Shown:
    """What views read. Its readers are not thread-safe: hold `lock` around a view."""

    where: str
    """The path or address, as it was given."""
    phase: str | None
    state: State
    order: Order | None = field(repr=False)
    """Its rows; None where they cannot be opened."""
    manifest: Manifest | None = field(repr=False)
    trace: Trace | None = field(repr=False)
    """Its provenance; None without, or where it is damaged."""
    positions: Positions | None = field(repr=False)
    """Its steps; None of a pool, or where they are not known."""
    problems: tuple[str, ...]
    """What is missing or damaged, a line each."""
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    jobs: dict[str, Any] = field(default_factory=dict, repr=False)
    """Work in threads of its own, by name."""
    is_served: bool = False
    """Whether a page asks again for what is not done yet."""

    _index: SearchIndex | None = field(default=None, init=False, repr=False)
    _groups: dict[int, RowColumns] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def open(cls, where: str | Path, *, phase: str | None = None) -> "Shown":
        """Open an output of a build, a pool or a published order, at a path or an address.

        An output that is not finished, or damaged, opens with what is left of it.

        phase: the one to open, of a published order of several.

        Raises: as `dataset.open` where there is nothing to show.
        """
        found = OpenedParts(str(where), phase)
        return cls(
            where=str(where),
            phase=phase,
            state=found.state,
            order=found.order,
            manifest=found.manifest,
            trace=found.trace,
            positions=found.positions,
            problems=tuple(found.problems),
        )

    @property
    def name(self) -> str:
        if self.manifest is not None:
            return self.manifest.mixture.name
        return self.where.rstrip("/").rpartition("/")[2] or self.where

    @property
    def folder(self) -> Path | None:
        """Its folder on this machine; None of an address."""
        return dataset.as_path(self.where)

    @property
    def num_rows(self) -> int:
        if self.order is not None:
            return self.order.rows.num_rows
        return 0 if self.manifest is None else self.manifest.order.num_rows

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The names of its sources, sorted."""
        if self.manifest is not None and self.manifest.sources:
            return tuple(sorted(self.manifest.sources))
        if self.trace is None or not self.num_rows:
            return ()
        return tuple(sorted({*_some_sources(self.trace, self.num_rows)}))

    @cached_property
    def largest(self) -> tuple[str, ...]:
        """The sources that have a colour each, largest first: by what was drawn, or a survey."""
        if not self.sources:
            return ()
        if self.manifest is not None and self.manifest.sources:
            sizes = {name: one.budget.drawn for name, one in self.manifest.sources.items()}
        else:
            tokens = self.survey.tokens.sum(axis=0)
            sizes = dict(zip(self.sources, tokens.tolist(), strict=True))
        return tuple(sorted(sizes, key=lambda name: (-sizes[name], name))[:NUM_COLOURS])

    def search_index(self) -> SearchIndex | None:
        """Return the index beside it, once there is one. Raises: MismatchError for damage."""
        if self._index is not None and self._index.has_changed():
            self._index = None
        if self._index is None and self.order is not None:
            self._index = find_index(self.order)
        return self._index

    def need_order(self) -> Order:
        """Return its rows. Raises: as `_lacking`."""
        if self.order is None:
            raise self._lacking("rows")
        return self.order

    def need_trace(self) -> Trace:
        """Return its provenance. Raises: as `_lacking`."""
        if self.trace is not None:
            return self.trace
        hint = "the output of a build on this machine has it"
        why = "no provenance is read here, so where rows come from is not known"
        raise self._lacking("provenance", why, hint)

    def need_manifest(self) -> Manifest:
        """Return its manifest. Raises: as `_lacking`."""
        if self.manifest is not None:
            return self.manifest
        why = "has no manifest of a build, so its budgets are not known"
        raise self._lacking("budgets", why)

    def check_is_same(self) -> None:
        """Insist that its folder still has what was opened, for who opens it once more.

        Raises: MismatchError where it is the output of another build by now.
        """
        folder, known = self.folder, self.need_trace().manifest
        assert folder is not None
        if read_manifest(folder / MANIFEST).files != known.files:
            raise MismatchError(
                f"{self.where}: is another output than was opened", "open it again to look at that"
            )

    def need_positions(self) -> Positions:
        """Return its steps. Raises: as `_lacking`."""
        if self.positions is None:
            hint = "look at its rows, or write them in order with `ettin-data order`"
            raise self._lacking("steps", "has rows and no steps", hint)
        return self.positions

    @cached_property
    def columns(self) -> ColumnReader:
        """The columns that counts need. Raises: as `need_trace`."""
        trace = self.need_trace()
        windows = trace.manifest.order.windows
        names = [
            path.removeprefix(f"{PROVENANCE}/")
            for path in trace.manifest.files
            if fnmatch(path, f"{PROVENANCE}/*/steps_*.parquet") and path.count("/") == 2
        ]
        files = row_files(
            trace.out / PROVENANCE,
            names,
            {one.folder.rpartition("/")[2]: one.first_step for one in windows},
            trace.positions.first_rows,
        )
        place_by_source = {source: place for place, source in enumerate(self.sources)}
        return ColumnReader(files=files, place_by_source=place_by_source)

    def group_at(self, row: int, *, only_known: bool = False) -> RowColumns | None:
        """Return the row group of provenance that has a row; None if only known ones are asked for.

        Some thousand are kept, of the last that were read.
        """
        reader = self.columns
        known = self._groups.get(row)
        if known is None and not only_known:
            known = self._groups[row] = reader.group_at(row)
            while len(self._groups) > _MOST_GROUPS:
                self._groups.pop(next(iter(self._groups)))
        return known

    @cached_property
    def survey(self) -> Strip:
        """What some row groups over the whole order hold, as one column. Raises: as `columns`."""
        strip = empty_strip(np.array([0, 1]), len(self.sources))
        ends = np.array([0, self.num_rows])
        counted = set()
        for number in range(_SURVEYED_GROUPS):
            row = self.num_rows * (2 * number + 1) // (2 * _SURVEYED_GROUPS)
            group = self.columns.group_at(row)
            if group.start not in counted:
                counted.add(group.start)
                add_rows(strip, group, ends)
        return strip

    @cached_property
    def strip_maker(self) -> StripMaker:
        """Raises: as `need_trace`."""
        trace = self.need_trace()
        files = {
            name: file
            for name, file in trace.manifest.files.items()
            if name.startswith(f"{PROVENANCE}/")
        }
        documents = [name for name in sorted(files) if name.startswith(f"{PROVENANCE}/documents/")]
        digests = {name: file.sha256 for name, file in files.items()}
        order = trace.manifest.order.ledger.sequence_root
        return StripMaker(
            reader=self.columns,
            documents=[trace.out / name for name in documents],
            files={trace.out / name: file for name, file in files.items()},
            first_rows=trace.positions.first_rows,
            num_sources=len(self.sources),
            views=self.lock,
            key=fingerprint({"strip": 2, "order": order, "files": digests}),
        )

    def check_row(self, row: int, num_rows: int) -> None:
        """Insist that a row is one of so many. Raises: NotFoundError."""
        if not 0 <= row < num_rows:
            known = f"rows 0 to {num_rows - 1}" if num_rows else "no rows"
            positions = self.positions
            hint = "rows count from 0" if positions is None else positions.describe_dropped()
            raise NotFoundError(f"row {row}: is not in the order, which has {known}", hint)

    def step_of(self, row: int) -> int | None:
        """Return the step of a row, from 1; None where steps are not known."""
        positions = self.positions
        if positions is None or not 0 <= row < positions.num_rows:
            return None
        return positions.row(row).first_step

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that made its ids, or, where that is not known, the embedded one.

        Raises: MismatchError when it is not the one that the manifest names; as `load_tokenizer`.
        """
        if self.trace is not None:
            return self.trace.load_tokenizer()
        folder = self.folder
        name = EMBEDDED
        if folder is not None and (folder / TOKENIZER).is_file():
            name = str(folder / TOKENIZER)
        tokenizer = load_tokenizer(name, add_prefix_space=False)
        known = None if self.order is None else self.order.tokenizer_digest
        if known not in (None, tokenizer.digest):
            raise MismatchError(
                f"{self.where}: got ids of the tokenizer {known}, expected those of {name},"
                f" {tokenizer.digest}"
            )
        return tokenizer

    @cached_property
    def token_text(self) -> TokenText:
        return TokenText.of(self.tokenizer)

    @property
    def unchecked_rows(self) -> RowReader:
        """Its rows as they are, whatever the ledger says of them. Raises: as `need_order`."""
        rows = self.need_order().rows
        return rows.rows if isinstance(rows, CheckedRows) else rows

    @cached_property
    def special(self) -> SpecialIds:
        """The special ids of its tokenizer. Raises: as `special_ids`."""
        return special_ids(self.need_order())

    @cached_property
    def ledger(self) -> Ledger:
        """Raises: as `_lacking`, where no manifest has the digests of its rows."""
        ledger = None if self.order is None else self.order.ledger
        if ledger is None and self.manifest is not None:
            ledger = self.manifest.order.ledger.load()
        if ledger is None:
            why = "has no ledger, so there is nothing to prove a row by"
            hint = "`ettin-data digest` reads the order once and makes one"
            raise self._lacking("ledger", why, hint)
        return ledger

    @cached_property
    def step_tokens(self) -> Int64Array:
        """int64 [num_steps], ids of the rows of each step. Raises: MismatchError."""
        path = self.need_trace().out / STEPS
        try:
            with pq.ParquetFile(path) as file:
                return values_of(file.read(["num_tokens"])["num_tokens"]).astype(np.int64)
        except (pa.ArrowException, OSError, KeyError) as error:
            raise MismatchError(f"{path}: cannot be read: {error}", _BUILD_AGAIN) from error

    def checkpoint_after(self, step: int) -> str | None:
        """Return the name of the first checkpoint that has seen a step; None after the last."""
        positions = self.need_positions()
        place = bisect_left(positions.last_steps, step)
        if place == len(positions.last_steps):
            return None
        return f"{checkpoint_prefix(positions.phase)}{positions.last_steps[place]}"

    def checkpoints(self) -> list[tuple[str, int]]:
        """Return the names of its checkpoints, each with the last step before it."""
        positions = self.positions
        if positions is None:
            return []
        prefix = checkpoint_prefix(positions.phase)
        return [(f"{prefix}{step}", step) for step in positions.last_steps]

    def _lacking(self, part: str, why: str = "", hint: str | None = None) -> PipelineError:
        """Return the error of a part that is not there: MismatchError where something is damaged.

        why, hint: what is said of an order that is whole, and has no such part.
        """
        if self.state == "damaged":
            return MismatchError(f"{self.where}: its {part} cannot be opened", self.problems[0])
        if self.state == "unfinished":
            why, hint = f"its build is not finished, and has no {part} yet", self.problems[0]
        elif self.state == "manifest":
            why = f"got a manifest alone, which has no {part}"
            kept = "the digest of its order" if self.manifest is None else "checkpoints and budgets"
            hint = f"name the folder of the output; this manifest alone shows {kept}"
        return NotFoundError(f"{self.where}: {why}", hint)


def _some_sources(trace: Trace, num_rows: int) -> Iterator[str]:
    """Yield the sources of some rows over a whole order."""
    for number in range(_SURVEYED_GROUPS):
        row = num_rows * number // _SURVEYED_GROUPS
        for table in trace.provenance.tables(row, row + 1):
            yield from table["source"].chunk(0).dictionary.to_pylist()
