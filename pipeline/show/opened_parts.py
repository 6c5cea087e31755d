"""What is at a place: the rows, manifest, provenance and steps of an order, part by part.

A part that cannot be opened is a problem, which is noted, and no error: what is left is shown.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline import dataset
from pipeline.audit.trace import Positions, Trace
from pipeline.core.errors import PipelineError
from pipeline.dataset import (
    MANIFEST,
    ORDER,
    PARTIAL,
    PROVENANCE,
    STATE,
    STEPS,
    Manifest,
    Order,
)
from pipeline.dataset.parquet import PublishedOrder

State = Literal["finished", "unfinished", "damaged", "manifest", "published", "pool"]
_MOST_PROBLEMS = 20
_NOT_YET = f"{MANIFEST}: is not there yet: run the same build again, which goes on where it stopped"
_GONE = f"{MANIFEST}: is missing: run the same build again, which writes it"


class OpenedParts:
    """What is at a place, part by part; a part that cannot be opened is a problem."""

    def __init__(self, where: str, phase: str | None) -> None:
        self.problems: list[str] = []
        self.manifest: Manifest | None = None
        self.trace: Trace | None = None
        self.order: Order | None = None
        path = dataset.as_path(where)
        self._folder = None if path is None or not path.is_dir() else path
        is_build = self._folder is not None and _is_build(self._folder)
        if not is_build:
            self.order = dataset.open(where, phase=phase)
            self.manifest = self.order.manifest
        else:
            self._open_build(where)
        self.positions = self._positions()
        self.state = self._state(is_build=is_build)

    def _open_build(self, where: str) -> None:
        folder = self._folder
        assert folder is not None
        has_manifest = (folder / MANIFEST).exists()
        if not has_manifest and not (folder / PARTIAL).exists():
            self.problems.append(_NOT_YET if (folder / STATE).is_dir() else _GONE)
        with self._noting(is_noted=has_manifest):
            self.order = dataset.open(where)
            self.manifest = self.order.manifest
        if self.order is None and (folder / ORDER).is_dir():
            with self._noting(is_noted=False):
                self.order = replace(dataset.open(folder / ORDER), where=where)
        if self.manifest is None:
            with self._noting(is_noted=not self.problems):
                self.manifest = dataset.read_manifest(folder / MANIFEST)
        if self.manifest is not None:
            if self.order is not None and self.order.rows.num_rows != self.manifest.order.num_rows:
                # Which of its rows are there is not known.
                self.order = None
            self._note_missing(folder, self.manifest)
            with self._noting():
                self.trace = Trace.open(folder)

    def _note_missing(self, folder: Path, manifest: Manifest) -> None:
        lines = []
        for name, file in manifest.files.items():
            try:
                num_bytes = (folder / name).stat().st_size
            except OSError:
                lines.append(f"{name}: is missing")
                continue
            if num_bytes != file.num_bytes:
                lines.append(
                    f"{name}: got {num_bytes:,} bytes, expected {file.num_bytes:,} by the manifest"
                )
        if len(lines) > _MOST_PROBLEMS:
            more = len(lines) - _MOST_PROBLEMS
            lines[_MOST_PROBLEMS:] = [f"and {more:,} more files are missing or of another size"]
        self.problems += lines

    def _positions(self) -> Positions | None:
        """Return the steps: of the table of them, else as the manifest or names of files say."""
        if self.trace is not None:
            return self.trace.positions
        if self.manifest is not None:
            order = self.manifest.order
            counted = [(one.num_steps, one.num_rows) for one in order.windows]
            ends = np.cumsum([one.num_steps for one in order.windows]).tolist()
            phase = str(self.manifest.mixture.declaration.get("phase", ""))
            return _positions(counted, ends, phase, order.num_rows_dropped)
        if self.order is None or not isinstance(self.order.rows, PublishedOrder):
            return None
        rows = self.order.rows
        if any(file.steps is None for file in rows.files):
            return None
        firsts = [rows.first_row(number) for number in range(len(rows.files) + 1)]
        num_steps = [len(file.steps or ()) for file in rows.files]
        counted = list(zip(num_steps, np.diff(firsts).tolist(), strict=True))
        windows = [file.window for file in rows.files]
        is_last = [one != other for one, other in zip(windows, [*windows[1:], None], strict=True)]
        ends = np.cumsum(num_steps)[is_last].tolist()
        return _positions(counted, ends, self.order.phase, 0)

    def _state(self, *, is_build: bool) -> State:
        if is_build:
            assert self._folder is not None
            has_begun = any((self._folder / name).exists() for name in (STATE, PARTIAL))
            if not (self._folder / MANIFEST).exists() and has_begun:
                return "unfinished"
            return "damaged" if self.problems else "finished"
        assert self.order is not None
        if not self.order.has_rows:
            return "manifest"
        if self.manifest is not None:
            return "finished"
        return "pool" if self.positions is None else "published"

    @contextmanager
    def _noting(self, *, is_noted: bool = True) -> Iterator[None]:
        """Note what cannot be opened, and go on without it."""
        try:
            yield
        except PipelineError as error:
            if is_noted and error.message not in self.problems:
                self.problems.append(error.message)


def _is_build(folder: Path) -> bool:
    """Return whether a build has begun in a folder, or left in it what a build alone writes."""
    left = (MANIFEST, PROVENANCE, STEPS)
    return dataset.is_build_folder(folder) or any((folder / name).exists() for name in left)


def _positions(
    counted: list[tuple[int, int]], last_steps: list[int], phase: str, num_dropped: int
) -> Positions:
    """Return steps by runs of as large ones: the number of steps of each run, and of its rows."""
    sizes = [np.diff(np.arange(steps + 1) * rows // max(steps, 1)) for steps, rows in counted]
    return Positions(
        first_rows=np.cumsum(np.concatenate([[0], *sizes])).astype(np.int64),
        last_steps=tuple(last_steps),
        phase=phase,
        num_dropped=num_dropped,
    )
