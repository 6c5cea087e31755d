"""Target: what an output is to be compared with, found out from its path or address."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pipeline.audit.verify.comparison import Output
from pipeline.core.bundled import manifest_path
from pipeline.core.errors import ConfigError, InputError, NotFoundError
from pipeline.core.ragged import Rows
from pipeline.dataset import (
    MANIFEST,
    STATE,
    Ledger,
    Manifest,
    ManifestWindow,
    RowSource,
    is_output,
    manifest_windows,
    open_rows,
    read_either,
)
from pipeline.dataset.mds import MdsRows
from pipeline.dataset.parquet import PublishedOrder
from pipeline.order import View

TargetKind = Literal["manifest", "output", "published order", "MDS shards"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shifted:
    """Rows that do not count from 0; the rows before the first are not there."""

    rows: PublishedOrder
    """The rows."""
    start: int
    """The position of the first."""

    @property
    def dtype(self) -> str:
        """The type that ids are stored in."""
        return self.rows.dtype

    @property
    def num_wrapped(self) -> int:
        """How many negative ids were read so far."""
        return self.rows.num_wrapped

    @property
    def num_rows(self) -> int:
        """One past the position of the last row."""
        return self.start + self.rows.num_rows

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        """Yield rows `start` to `stop` in order. Raises: NotFoundError for earlier ones."""
        if start < self.start:
            raise NotFoundError(f"got rows from {start:,}, expected them from {self.start:,}")
        return self.rows.read(start - self.start, stop - self.start)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The other side of a comparison: rows, or a ledger of rows."""

    what: str
    """As given."""
    kind: TargetKind
    """What it turned out to be."""
    manifest: Manifest | None = None
    """Of a build, if there is one."""
    output: Output | None = None
    """The other output, if it is one."""
    rows: RowSource | None = None
    """Its rows, where they can be read."""
    ledger: Ledger | None = None
    """Its ledger, where only that can be read."""
    windows: tuple[ManifestWindow, ...] = ()
    """The windows that its ledger knows of."""
    view: View | None = None
    """The view that it says its rows are under."""

    def lone_window(self) -> int | None:
        """Return the number of a published window that was opened by itself, if it is not 1."""
        if not isinstance(self.rows, PublishedOrder) or len(self.rows.windows) != 1:
            return None
        number = self.rows.windows[0].number
        return number if number > 1 and self.rows.files[0].first_step == 1 else None

    def window(self, number: int, start: int) -> "Target":
        """Return one window of a published order, with rows that count on from `start`.

        So no file of another window is touched. Raises: as `PublishedOrder.window`.
        """
        assert isinstance(self.rows, PublishedOrder)
        return replace(self, rows=Shifted(rows=self.rows.window(number), start=start))

    @property
    def num_rows(self) -> int:
        """How many rows it has."""
        if self.ledger is not None:
            return self.ledger.num_rows
        assert self.rows is not None
        return self.rows.num_rows


def open_target(what: str, phase: str) -> Target:
    """Open a manifest, an output, a published order or MDS shards.

    `phase`: which of the phases of a published order is meant, where it has several.
    Raises: InputError when it is none of them, or cannot be used.
    """
    if "://" in what:
        return _open_rows(what, phase)
    path = Path(what)
    if path.is_dir():
        if is_output(path):
            return _open_output(what, path)
        if (path / STATE).is_dir():
            raise InputError(
                f"{path}: got a build that is not finished, expected an output with {MANIFEST}",
                "run the build to its end first",
            )
        return _open_rows(what, phase)
    if path.suffix == ".parquet" and path.is_file():
        return _open_rows(what, phase)
    return _open_manifest(what, path)


def _open_output(what: str, path: Path) -> Target:
    output = Output.open(path)
    return Target(
        what=what,
        kind="output",
        manifest=output.manifest,
        output=output,
        rows=output.order_rows,
        view=output.view,
    )


def _open_rows(what: str, phase: str) -> Target:
    # Negative ids of a type that is too narrow are a difference to be named, not a reason to stop.
    rows = open_rows(what, wrap=True)
    if isinstance(rows, MdsRows):
        return Target(what=what, kind="MDS shards", rows=rows)
    if len(rows.phases) > 1:
        rows = rows.phase(phase)
    return Target(what=what, kind="published order", rows=rows)


def _open_manifest(what: str, path: Path) -> Target:
    try:
        path = manifest_path(what)
    except ConfigError as error:
        raise _nothing_known(what, error.message) from error
    if not path.exists():
        raise _nothing_known(what, "check the path")
    manifest = read_either(path)
    return Target(
        what=what,
        kind="manifest",
        manifest=manifest if isinstance(manifest, Manifest) else None,
        ledger=manifest.order.ledger.load(),
        windows=manifest_windows(manifest),
        view=manifest.order.view,
    )


def _nothing_known(what: str, hint: str) -> InputError:
    return InputError(
        f"{what}: got nothing known, expected a manifest or its shipped name, an output, a folder "
        "or hf:// path of ordered parquet, or a folder of MDS shards with index.json",
        hint,
    )
