"""Target: what an output is compared with, opened from its path, address or shipped name."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pipeline import dataset
from pipeline.audit.verify.build_output import Output
from pipeline.core.errors import InputError, NotFoundError
from pipeline.core.ragged import Rows
from pipeline.dataset import (
    MANIFEST,
    STATE,
    Ledger,
    Manifest,
    ManifestWindow,
    RowSource,
    is_output,
)
from pipeline.dataset.parquet import PublishedOrder
from pipeline.order import View

TargetKind = Literal["manifest", "output", "published order", "MDS shards"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The other side of a comparison: rows, or a ledger of rows."""

    what: str
    kind: TargetKind
    manifest: Manifest | None = None
    output: Output | None = None
    rows: RowSource | None = None
    """Where rows can be read."""
    ledger: Ledger | None = None
    """Where only digests can be read."""
    windows: tuple[ManifestWindow, ...] = ()
    """The windows of the ledger."""
    view: View | None = None
    """The view of its rows, by its manifest."""

    @property
    def num_rows(self) -> int:
        source = self.rows if self.ledger is None else self.ledger
        assert source is not None
        return source.num_rows

    def lone_window(self) -> int | None:
        """Return the number of a published window that was opened by itself, if it is not 1."""
        if not isinstance(self.rows, PublishedOrder) or len(self.rows.windows) != 1:
            return None
        number, steps = self.rows.windows[0].number, self.rows.files[0].steps
        return number if number > 1 and steps is not None and steps.start == 1 else None

    def window(self, number: int, start: int) -> "Target":
        """Return one window of a published order, its rows numbered from `start`."""
        assert isinstance(self.rows, PublishedOrder)
        return replace(self, rows=OffsetRows(self.rows.window(number), start))

    def rows_under(self, view: View) -> RowSource | None:
        """Return its rows; those of an output under a view, if it can make it."""
        if self.output is not None and view in self.output.views:
            return self.output.ordered_under(view)
        return self.rows


def open_target(what: str, phase: str) -> Target:
    """Open a manifest, an output, a published order or MDS shards.

    `phase`: the phase to take of a published order that has several.
    Raises: InputError when it is none of them, or cannot be used.
    """
    path, is_local = Path(what), "://" not in what
    if is_local and is_output(path):
        output = Output.open(path)
        return Target(
            what=what,
            kind="output",
            manifest=output.manifest,
            output=output,
            rows=output.ordered_rows,
            view=output.view,
        )
    if is_local and (path / STATE).is_dir():
        raise InputError(
            f"{path}: got an unfinished build, expected an output with {MANIFEST}",
            "run the build to its end first",
        )
    # Negative ids of a type that is too narrow are a difference to report, not an error.
    order = dataset.open(what, checks=False, all_phases=True)
    if not order.has_rows:
        return Target(
            what=what,
            kind="manifest",
            manifest=order.manifest,
            ledger=order.ledger,
            windows=order.windows,
            view=order.view,
        )
    if not isinstance(order.rows, PublishedOrder):
        return Target(what=what, kind="MDS shards", rows=order.rows)
    rows = order.rows.phase(phase) if len(order.rows.phases) > 1 else order.rows
    return Target(what=what, kind="published order", rows=rows)


@dataclass(frozen=True, slots=True)
class OffsetRows:
    """Rows of a published order, numbered from `start`."""

    rows: PublishedOrder
    start: int

    @property
    def dtype(self) -> str:
        return self.rows.dtype

    @property
    def num_wrapped(self) -> int:
        return self.rows.num_wrapped

    @property
    def num_rows(self) -> int:
        return self.start + self.rows.num_rows

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        if start < self.start:
            raise NotFoundError(f"got rows from {start:,}, expected them from {self.start:,}")
        return self.rows.read(start - self.start, stop - self.start)


@dataclass(kw_only=True)
class ForwardReader:
    """Rows that are peeked at, then read window by window, and fetched only once.

    A read that starts where the last one ended uses what is left of its row group.
    """

    rows: RowSource
    stop: int
    """One past the last row that will be read."""
    _position: int = field(default=-1, init=False)
    _buffered: list[Rows] = field(default_factory=list, init=False)
    _fetched: Iterator[Rows] = field(default_factory=lambda: iter(()), init=False)

    @property
    def num_rows(self) -> int:
        return self.rows.num_rows

    def peek(self, start: int, stop: int) -> list[Rows]:
        """Return rows `start` to `stop`; the next read may start at `start` again."""
        blocks = list(self.read(start, stop))
        self._buffered = blocks + self._buffered
        self._position = start
        return blocks

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        if start != self._position:
            self._fetched = self.rows.read(start, self.stop)
            self._buffered = []
            self._position = start
        while self._position < stop:
            block = self._buffered.pop(0) if self._buffered else next(self._fetched)
            num_rows = min(len(block), stop - self._position)
            if num_rows < len(block):
                self._buffered.insert(0, block.slice(num_rows, len(block)))
            self._position += num_rows
            yield block.slice(0, num_rows)
