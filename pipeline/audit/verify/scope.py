"""Scope: which rows of two sides are to be compared, and in which parts results are told."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.audit.verify.compare import Part
from pipeline.audit.verify.comparison import Of, Output
from pipeline.audit.verify.forward_rows import ForwardReader
from pipeline.audit.verify.target import Target
from pipeline.core.errors import NotFoundError
from pipeline.core.progress import ReportProgress
from pipeline.dataset import ManifestWindow, RowSource, order_windows
from pipeline.dataset.parquet import PublishedOrder
from pipeline.order import View

Range = tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """What is compared with what."""

    output: Output
    """Our side."""
    opposite: Target
    """The other side."""
    asked: Range | None
    """Which rows, half-open; None for all."""
    is_whole: bool
    """Whether the numbers of rows count: of both sides, or of a window of both."""
    words: str
    """What was asked for, as it was given and in rows."""
    may_be_pool: bool
    """Whether positions may be those of a pool, which ours must have then."""
    report: ReportProgress
    """Is told of progress."""
    onward: ForwardReader | None
    """The other side's rows where it is no output: looked at first, then read."""

    @classmethod
    def of(
        cls,
        output: Output,
        opposite: Target,
        *,
        rows: Range | None,
        steps: Range | None,
        window: int | None,
        report: ReportProgress,
    ) -> "Scope":
        """Return what of two sides is compared where at most one kind of part is given.

        A published window is laid beside that of the same number, also where it is all there is.
        Raises: NotFoundError for a part that the output does not have.
        """
        asked, words = rows, "" if rows is None else f"--rows {rows[0]}:{rows[1]}"
        if steps is not None:
            asked = _rows_of_steps(output, *steps)
            words = f"--steps {steps[0]}:{steps[1]}, rows {asked[0]:,}:{asked[1]:,}"
        # What may be a pool has other numbers of rows; that is seen when it is known.
        most = output.num_rows if opposite.kind in ("output", "published order") else sys.maxsize
        if rows is not None and not 0 <= rows[0] < rows[1] <= most:
            raise _no_rows(output, words, "order", output.num_rows)
        is_published = opposite.kind == "published order"
        number = opposite.lone_window() if window is None else window
        is_whole = asked is None and (number is None or is_published)
        if number is not None:
            place = _rows_of_window(output, number)
            words = words or f"window {number}, rows {place[0]:,}:{place[1]:,}"
            asked = asked or place
            if is_published:
                opposite = opposite.window(number, place[0])
        return cls(
            output=output,
            opposite=opposite,
            asked=asked,
            is_whole=is_whole,
            words=words,
            may_be_pool=window is None and steps is None and output.has_pool,
            report=report,
            onward=None if opposite.output is not None else _onward(opposite, asked, is_whole),
        )

    def theirs(self, view: View) -> RowSource:
        """Return the rows of the other side; those of an output under a view, if it has them."""
        other = self.opposite.output
        if other is not None:
            return other.rows_under(view) if view in other.views else other.order_rows
        assert self.opposite.rows is not None
        return self.opposite.rows

    @property
    def start(self) -> int:
        """The first row."""
        return 0 if self.asked is None else self.asked[0]

    def bounds(self, of: Of, num_rows: int) -> Range:
        """Return the rows to be compared, of which our side has `num_rows`.

        Raises: NotFoundError when it does not have them.
        """
        if self.asked is None:
            return 0, num_rows
        if self.asked[1] > num_rows:
            raise _no_rows(self.output, self.words, of, num_rows)
        return self.asked

    def windows(self, of: Of) -> tuple[ManifestWindow, ...]:
        """Return what results are told by.

        Folders of the other side are taken where all its files are read anyway.
        """
        if of == "pool":
            return self.output.partitions
        if self.asked is None and isinstance(self.opposite.rows, PublishedOrder):
            return order_windows(self.opposite.rows)
        return self.output.windows


def parts_of(windows: Sequence[ManifestWindow], start: int, stop: int) -> list[Part]:
    """Return what of each window lies in a range, and what lies beyond all of them."""
    parts = [(one.name, max(one.start, start), min(one.stop, stop)) for one in windows]
    end = windows[-1].stop if windows else 0
    parts.append(("the rest", max(end, start), stop))
    return [part for part in parts if part[1] < part[2]]


def _onward(opposite: Target, asked: Range | None, is_whole: bool) -> ForwardReader | None:
    if opposite.rows is None:
        return None
    # Of a part not even footers beyond it are asked for.
    stops = [] if asked is None else [asked[1]]
    stops += [opposite.rows.num_rows] if is_whole else []
    return ForwardReader(rows=opposite.rows, stop=min(stops))


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
