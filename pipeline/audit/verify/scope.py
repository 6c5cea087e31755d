"""Scope: which rows of an output and a target are compared, and by which windows."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.audit.verify.build_output import Output
from pipeline.audit.verify.comparison import Of
from pipeline.audit.verify.target import ForwardReader, Target
from pipeline.core.errors import NotFoundError
from pipeline.core.progress import ReportProgress
from pipeline.dataset import ManifestWindow, RowSource, order_windows
from pipeline.dataset.parquet import PublishedOrder
from pipeline.order import View

Range = tuple[int, int]
Part = tuple[str, int, int]
"""A window's name, its first row, and one past its last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """What is compared with what."""

    output: Output
    target: Target
    requested: Range | None
    """Half-open; None for all rows."""
    is_whole: bool
    """Whether the numbers of rows count: of both sides, or of a window of both."""
    words: str
    """What was requested, as given and in rows."""
    may_be_pool: bool
    """Whether positions may be those of the output's pool."""
    show: ReportProgress
    reader: ForwardReader | None
    """The rows of a target that is no output: peeked at first, then read."""

    @classmethod
    def of(
        cls,
        output: Output,
        target: Target,
        *,
        rows: Range | None,
        steps: Range | None,
        window: int | None,
        show: ReportProgress,
    ) -> "Scope":
        """Return what is compared where at most one kind of part is given.

        A published window is compared with the output's window of that number.
        Raises: NotFoundError for a part that the output does not have.
        """
        requested, words = rows, "" if rows is None else f"--rows {rows[0]}:{rows[1]}"
        if steps is not None:
            requested = _rows_of_steps(output, *steps)
            words = f"--steps {steps[0]}:{steps[1]}, rows {requested[0]:,}:{requested[1]:,}"
        # A pool has another number of rows; rows beyond it are refused once it is known to be one.
        most = output.num_rows if target.kind in ("output", "published order") else sys.maxsize
        if rows is not None and not 0 <= rows[0] < rows[1] <= most:
            raise _no_rows(output, words, "order", output.num_rows)
        is_published = target.kind == "published order"
        number = target.lone_window() if window is None else window
        is_whole = requested is None and (number is None or is_published)
        if number is not None:
            start, stop = _rows_of_window(output, number)
            words = words or f"window {number}, rows {start:,}:{stop:,}"
            requested = requested or (start, stop)
            if is_published:
                target = target.window(number, start)
        reader = None
        if target.output is None and target.rows is not None:
            # Of a part not even the footers beyond it are read.
            stops = [] if requested is None else [requested[1]]
            stops += [target.rows.num_rows] if is_whole else []
            reader = ForwardReader(rows=target.rows, stop=min(stops))
        return cls(
            output=output,
            target=target,
            requested=requested,
            is_whole=is_whole,
            words=words,
            may_be_pool=window is None and steps is None and output.has_pool,
            show=show,
            reader=reader,
        )

    @property
    def start(self) -> int:
        return 0 if self.requested is None else self.requested[0]

    def bounds(self, of: Of, num_rows: int) -> Range:
        """Return the rows to compare. Raises: NotFoundError where the output has fewer."""
        if self.requested is None:
            return 0, num_rows
        if self.requested[1] > num_rows:
            raise _no_rows(self.output, self.words, of, num_rows)
        return self.requested

    def parts(self, of: Of, start: int, stop: int) -> list[Part]:
        """Return what of each window lies in a range, and what lies beyond all of them."""
        windows: Sequence[ManifestWindow] = self.output.windows
        if of == "pool":
            windows = self.output.partitions
        elif self.requested is None and isinstance(self.target.rows, PublishedOrder):
            # All its files are read.
            windows = order_windows(self.target.rows)
        parts = [(one.name, max(one.start, start), min(one.stop, stop)) for one in windows]
        end = windows[-1].stop if windows else 0
        parts.append(("the rest", max(end, start), stop))
        return [part for part in parts if part[1] < part[2]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Alignment:
    """The rows of an output that a target is compared with."""

    of: Of
    view: View
    why: str = ""
    """Why it was chosen, in words."""

    def rows(self, output: Output) -> RowSource:
        return (output.pool_under if self.of == "pool" else output.ordered_under)(self.view)


def _no_rows(output: Output, words: str, of: Of, num_rows: int) -> NotFoundError:
    return NotFoundError(
        f"{words}: the {of} of {output.folder} has rows 0 to {num_rows - 1:,}",
        "rows count from 0, and the second number is one past the last",
    )


def _rows_of_window(output: Output, window: int) -> Range:
    if not 1 <= window <= len(output.windows):
        raise NotFoundError(
            f"--window {window}: {output.folder} has windows 1 to {len(output.windows)}"
        )
    found = output.windows[window - 1]
    return found.start, found.stop


def _rows_of_steps(output: Output, start: int, stop: int) -> Range:
    num_steps = output.num_rows // output.batch_size
    if not 1 <= start < stop <= num_steps + 1:
        raise NotFoundError(
            f"--steps {start}:{stop}: {output.folder} has steps 1 to {num_steps:,}",
            "steps count from 1, and the second number is one past the last",
        )
    return (start - 1) * output.batch_size, (stop - 1) * output.batch_size
