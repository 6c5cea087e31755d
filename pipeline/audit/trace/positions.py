"""Positions: a step, a row, a window or a checkpoint of an order -> its range of rows.

Steps and windows count from 1 over the whole phase, rows from 0.
"""

from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import checkpoint_prefix
from pipeline.core.arrays import Int64Array
from pipeline.core.errors import MismatchError, NotFoundError
from pipeline.core.ragged import offsets_of
from pipeline.dataset import OrderRecord

_LATEST = "latest"
_MOST_DIGITS = 18
_HINT = "build again to write it"


@dataclass(frozen=True, kw_only=True, slots=True)
class RowRange:
    """Consecutive rows of an order, and the steps that take the first and the last."""

    name: str
    start_row: int
    stop_row: int
    first_step: int
    last_step: int
    tombstones: tuple[tuple[int, int], ...] = ()
    """Ranges of its rows that could not be read, so that no model saw them."""


@dataclass(frozen=True, kw_only=True)
class Positions:
    """The steps and windows of an order."""

    first_rows: Int64Array
    """int64 [num_steps + 1], the first row of each step, and the number of rows."""
    last_steps: tuple[int, ...]
    """The last step of each window, from 1, at which a checkpoint is saved."""
    phase: str
    num_dropped: int
    """Rows of the incomplete last step, which are not in the order."""

    @classmethod
    def of(cls, order: OrderRecord, phase: str, steps: Path) -> "Positions":
        """Return the positions of an order by its manifest and its table of steps.

        Raises: MismatchError when the table cannot be read or is of another order.
        """
        first_rows = _read_first_rows(steps)
        last_steps = tuple(one.first_step + one.num_steps for one in order.windows)
        num_steps = last_steps[-1] if last_steps else 0
        if num_steps + 1 != len(first_rows) or int(first_rows[-1]) != order.num_rows:
            raise MismatchError(
                f"{steps}: got {len(first_rows) - 1} steps of {int(first_rows[-1])} rows, manifest"
                f" says {num_steps} of {order.num_rows}",
                _HINT,
            )
        return cls(
            first_rows=first_rows,
            last_steps=last_steps,
            phase=phase,
            num_dropped=order.num_rows_dropped,
        )

    @property
    def num_rows(self) -> int:
        return int(self.first_rows[-1])

    def step(self, number: int) -> RowRange:
        """Return the rows of a step, from 1. Raises: NotFoundError when it is not in the order."""
        return self.steps(number, number + 1)

    def steps(self, start: int, stop: int) -> RowRange:
        """Return the rows of steps, from 1, without `stop`. Raises: as `step`."""
        self._check_range("step", start, stop, 1, len(self.first_rows) - 1)
        return self._span(_name("step", start, stop), start, stop - 1)

    def row(self, number: int) -> RowRange:
        """Return a row, from 0. Raises: NotFoundError when it is not in the order."""
        return self.rows(number, number + 1)

    def window(self, number: int) -> RowRange:
        """Return the rows of a window, from 1. Raises: NotFoundError when there is none."""
        return self.windows(number, number + 1)

    def windows(self, start: int, stop: int) -> RowRange:
        """Return the rows of windows, from 1, without `stop`. Raises: as `window`."""
        self._check_range("window", start, stop, 1, len(self.last_steps))
        before = self.last_steps[start - 2] if start > 1 else 0
        return self._span(_name("window", start, stop), before + 1, self.last_steps[stop - 2])

    def rows(self, start: int, stop: int, name: str | None = None) -> RowRange:
        """Return a range of rows. Raises: NotFoundError when it reaches beyond the order."""
        name = name or _name("row", start, stop)
        self._check_range("row", start, stop, 0, self.num_rows - 1)
        first, last = np.searchsorted(self.first_rows, [start, stop - 1], side="right").tolist()
        return RowRange(name=name, start_row=start, stop_row=stop, first_step=first, last_step=last)

    def checkpoint(self, name: str) -> RowRange:
        """Return the rows between a published checkpoint and the one before.

        name: `latest`, or the number of the last step before the checkpoint after `step`, or after
        the name of a later phase: `step596528`, `ext1000`, `decay500`.

        Raises: NotFoundError when none was saved there, or the name is of another phase.
        """
        prefix = checkpoint_prefix(self.phase)
        names = [f"{prefix}{step}" for step in self.last_steps]
        if not names:
            raise NotFoundError(f"checkpoint {name}: got an order without a whole step")
        if name == _LATEST:
            return self._window(f"checkpoint {names[-1]}", len(names) - 1)
        number = name.removeprefix(prefix)
        if number == name or not (number.isascii() and number.isdigit()):
            raise NotFoundError(
                f"checkpoint {name}: got no checkpoint of phase {self.phase!r}, expected"
                f" {prefix}N or {_LATEST}",
                "another phase is in another output",
            )
        # Python makes no integer of thousands of digits.
        step = int(number) if len(number) <= _MOST_DIGITS else self.last_steps[-1] + 1
        window = bisect_left(self.last_steps, step)
        if window < len(names) and names[window] == f"{prefix}{step}":
            return self._window(f"checkpoint {names[window]}", window)
        near = " or ".join(names[max(window - 1, 0) : window + 1])
        raise NotFoundError(
            f"checkpoint {name}: got a step at which no window ends, expected {near}",
            f"{len(names)} windows end at steps up to {self.last_steps[-1]}; --step shows one step",
        )

    def _window(self, name: str, window: int) -> RowRange:
        before = self.last_steps[window - 1] if window else 0
        return self._span(name, before + 1, self.last_steps[window])

    def _span(self, name: str, first_step: int, last_step: int) -> RowRange:
        return RowRange(
            name=name,
            start_row=int(self.first_rows[first_step - 1]),
            stop_row=int(self.first_rows[last_step]),
            first_step=first_step,
            last_step=last_step,
        )

    def _check_range(self, what: str, start: int, stop: int, first: int, last: int) -> None:
        for number in (start, stop - 1):
            self._check(what, number, first, last)

    def _check(self, what: str, number: int, first: int, last: int) -> None:
        if first <= number <= last:
            return
        known = f"{what}s {first} to {last}" if first <= last else f"no {what}s"
        hint = f"{what}s count from {first}" if number < first else self.describe_dropped()
        raise NotFoundError(f"{what} {number}: is not in the order, which has {known}", hint)

    def describe_dropped(self) -> str | None:
        if not self.num_dropped:
            return None
        return f"{self.num_dropped} rows at the end, which fill no step, were dropped"


def _name(what: str, start: int, stop: int) -> str:
    return f"{what} {start}" if stop == start + 1 else f"{what}s {start} to {stop - 1}"


def _read_first_rows(path: Path) -> Int64Array:
    try:
        with pq.ParquetFile(path) as file:
            table = file.read(["start_row", "num_rows"])
        starts, num_rows = (np.array(column.to_pylist(), np.int64) for column in table.columns)
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        raise MismatchError(f"{path}: cannot be read: {error}", _HINT) from error
    first_rows = offsets_of(num_rows)
    if not np.array_equal(starts, first_rows[:-1]):
        raise MismatchError(f"{path}: got steps that do not follow one another", _HINT)
    return first_rows
