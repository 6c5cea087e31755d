"""Ordering: a range of steps -> one file of ordered rows with the steps' digests, as one task.

Memory is bounded: rows are gathered, viewed, digested and written a few steps at a time.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numba import njit

from pipeline.build.task import Record, describe_file, load_standing, save_record
from pipeline.files import publish, save_array
from pipeline.layout import TRAIN, State
from pipeline.records import Int64Array, Uint32Array
from pipeline.shards.parquet import RowWriter
from pipeline.shards.pool import Pool
from pipeline.steps import StepFile
from pipeline.view import View, apply_view

# Tokens gathered at a time, in whole steps: 16 MiB of ids.
_TOKENS_AT_ONCE = 4 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderTask:
    """Everything that one file of ordered rows is made from."""

    out: Path
    """The output folder, absolute."""
    file: StepFile
    """Which steps, and where they go."""
    key: str
    """Fingerprint of all that decides the bytes."""
    run: str
    """A name for this run of the build, so that no files mapped in an earlier one are used."""
    batch_size: int
    """Rows of a step."""
    view: View
    """The view that is written."""
    cls_id: int
    """Id that starts a sequence."""
    sep_id: int
    """Id that ends one."""

    @property
    def name(self) -> str:
        """The task's name, unique in a build."""
        return self.file.path


@dataclass(frozen=True, kw_only=True)
class SavedOrder:
    """The order of a build, on disk for its tasks to map."""

    rows: Uint32Array
    """uint32 [num_rows], the pool's row at each position."""
    lengths: Uint32Array
    """uint32 [num_rows], by pool row, the ids stored."""
    view_lengths: Uint32Array
    """uint32 [num_rows], by pool row, the ids under the view."""

    def save(self, state: State) -> None:
        """Publish the three arrays."""
        for name in ("rows", "lengths", "view_lengths"):
            with publish(state.order(name), state.scratch) as temporary:
                save_array(temporary, getattr(self, name))

    @classmethod
    def map(cls, state: State) -> "SavedOrder":
        """Map the three arrays."""
        return cls(
            **{
                name: np.load(state.order(name), mmap_mode="r")
                for name in ("rows", "lengths", "view_lengths")
            }
        )


def order_rows(task: OrderTask) -> Record:
    """Write a file of ordered rows, or keep it where its record still stands."""
    state = State(out=task.out)
    record = load_standing(state, task.name, task.key)
    if record is None:
        with publish(task.out / task.file.path, state.scratch) as temporary:
            with RowWriter(temporary) as writer:
                tokens, digests = _write(task, SavedOrder.map(state), writer)
            files = {task.file.path: describe_file(temporary)}
        record = {"key": task.key, "num_tokens": tokens, "sha256": digests, "files": files}
        save_record(state, task.name, record)
    return record


@lru_cache(maxsize=1)
def _open_pool(folder: Path, run: str) -> Pool:
    # A worker of the user's outlives our builds, and with it maps of files that were damaged since.
    return Pool.open(folder)


def _write(task: OrderTask, order: SavedOrder, writer: RowWriter) -> tuple[list[int], list[str]]:
    pool = _open_pool(task.out / TRAIN, task.run)
    tokens: list[int] = []
    digests: list[str] = []
    step, last = 0, task.file.num_steps
    while step < last:
        stop = _steps_at_once(task, order, step)
        start_row = (task.file.first_step + step) * task.batch_size
        rows = order.rows[start_row : start_row + (stop - step) * task.batch_size].astype(np.int64)
        lengths = order.lengths[rows].astype(np.int64)
        offsets = np.concatenate([[0], np.cumsum(order.view_lengths[rows].astype(np.int64))])
        stored = np.concatenate([[0], np.cumsum(lengths)])
        ids = apply_view(
            pool.gather(rows, lengths), stored, offsets, task.view, task.cls_id, task.sep_id
        )
        for first in range(0, len(rows), task.batch_size):
            part = offsets[first : first + task.batch_size + 1]
            tokens.append(int(part[-1] - part[0]))
            digests.append(step_sha256(ids, part))
        labels = np.repeat(np.arange(step, stop) + task.file.first_label, task.batch_size)
        writer.write(ids, offsets, labels)
        step = stop
    return tokens, digests


def _steps_at_once(task: OrderTask, order: SavedOrder, step: int) -> int:
    stop, num_tokens = step, 0
    while stop < task.file.num_steps and (stop == step or num_tokens < _TOKENS_AT_ONCE):
        start_row = (task.file.first_step + stop) * task.batch_size
        num_tokens += int(
            order.view_lengths[order.rows[start_row : start_row + task.batch_size]].sum()
        )
        stop += 1
    return stop


def step_sha256(ids: Uint32Array, offsets: Int64Array) -> str:
    """Return the digest of a step: of each row its length, then its ids, as little-endian uint32.

    ids: uint32 [num_ids]; offsets: int64 [num_rows + 1].
    """
    out = np.empty(int(offsets[-1] - offsets[0]) + len(offsets) - 1, np.uint32)
    _with_lengths(ids, offsets, out)
    return hashlib.sha256(out.astype("<u4", copy=False).data).hexdigest()


@njit(cache=True, nogil=True)
def _with_lengths(ids: Uint32Array, offsets: Int64Array, out: Uint32Array) -> None:
    position = 0
    for row in range(offsets.size - 1):
        out[position] = offsets[row + 1] - offsets[row]
        position += 1
        for i in range(offsets[row], offsets[row + 1]):
            out[position] = ids[i]
            position += 1
