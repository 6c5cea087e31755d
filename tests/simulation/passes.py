"""Passes in the small: the sizes at which a small world takes those of a large one, and what they
leave on the way, by a reader that shares no code with the package.

A reference is made in memory and in single passes. So whatever passes make of a row, a text or an
id must be what one pass makes of it.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np
from blake3 import blake3

from pipeline.core import bins
from pipeline.runner import number_buckets, threshold
from pipeline.runner.shuffle import Limits, index_rows, step_tokens

_RUNS: Final = {"run_bytes": 1500, "window_bytes": 700, "row_bytes": 0}
_SIZES: Final[Mapping[str, Sequence[tuple[Any, str, Any]]]] = {
    "in memory": (),
    "one pass": ((Limits.__init__, "__kwdefaults__", {**_RUNS, "one_level_tasks": 256}),),
    "passes": (
        (Limits.__init__, "__kwdefaults__", {**_RUNS, "one_level_tasks": 1}),
        (index_rows, "_MOST_READS", 9),
        (step_tokens, "_LEAST_ROWS", 8),
        (threshold, "_ROWS_AT_ONCE", 5),
        (threshold, "_PARTITIONS_AT_ONCE", 2),
        (number_buckets, "LARGEST", 4),
        (bins, "FEW", 2),
        (bins, "_BITS_OF_BINS", 3),
    ),
}
SIZES: Final = tuple(_SIZES)
FOLDERS: Final = ("scattered", "sorted", "documents", "buckets")
"""Those of the state in which passes leave files of cells."""

_HEAD_START, _DIGEST_BYTES, _NUM_ARRAYS = 16 + 32, 32, 5
_RECORD: Final = np.dtype([("length", "<u4"), ("more", "<u4", 4)])


@contextmanager
def sized(size: str) -> Iterator[None]:
    """Let passes be as small as the world is, until the block ends."""
    with ExitStack() as stack:
        # This alone decides bytes: how many files the index of documents has.
        for where, name, value in ((index_rows, "ROWS_PER_PART", 8), *_SIZES[size]):
            stack.enter_context(mock.patch.object(where, name, value))
        yield


def memory(size: str) -> str:
    """Return what `--memory` is for a size."""
    return "1GiB" if size == "in memory" else "1"


def files_recorded(log: Path, data: bytes) -> Iterator[Path]:
    """Yield the files that whole lines of a log of records name."""
    for line in data.split(b"\n"):
        fields = line.split(b"\t")
        if len(fields) == 4:
            for name in json.loads(fields[3]).get("files", ()):
                yield log.parents[2] / name


def check_placed(
    stage: str, tasks: Sequence[Any], rows_of: Callable[[Path], Sequence[tuple[int, ...]]]
) -> None:
    """Insist that what the tasks of a stage read has each row of the order once, with its ids.

    rows_of: the rows of the order in an output. What a disk has damaged is left to the package.
    """
    if stage == "sort" and tasks:
        layout, state = tasks[0].layout, tasks[0].job.state
        runs = [layout.scattered(state, number) for number in range(layout.num_tasks)]
        _check_rows(runs, (0, layout.num_rows), layout.id_bytes, rows_of(state.out))
    elif stage == "order":
        for task in tasks:
            if task.layout is not None:
                layout, state = task.layout, task.job.state
                buckets = layout.buckets_of(*task.rows)
                runs = [run for bucket in buckets for run in layout.runs_of(state, bucket)]
                _check_rows(runs, task.rows, layout.id_bytes, rows_of(state.out))


def _check_rows(
    runs: Sequence[Any], wanted: tuple[int, int], id_bytes: int, rows: Sequence[tuple[int, ...]]
) -> None:
    placed: Counter[int] = Counter()
    for run in runs:
        for cell in _read_cells(run.path):
            if cell is None:
                return
            for position, ids in _rows_of(cell, id_bytes):
                placed[position] += 1
                assert ids == rows[position], f"{run.path}: row {position}: {ids}"
    found = {position: placed[position] for position in range(*wanted)}
    assert set(found.values()) <= {1}, f"rows that are not placed once: {found}"


def _read_cells(path: Path) -> Iterator[tuple[bytes, list[int]] | None]:
    """Yield bytes and lengths of arrays of each cell; None for one that is damaged or lost."""
    data = path.read_bytes() if path.exists() else b""
    entry = np.dtype([("end", "<u8"), ("digest", "V32"), ("lengths", "<u8", _NUM_ARRAYS)])
    for num_cells in count():
        table_end = _HEAD_START + num_cells * entry.itemsize
        if table_end + _DIGEST_BYTES > len(data):
            yield None
            return
        if blake3(data[:table_end]).digest() == data[table_end : table_end + _DIGEST_BYTES]:
            break
    start = table_end + _DIGEST_BYTES
    for one in np.frombuffer(data, entry, num_cells, _HEAD_START):
        cell = data[start : int(one["end"])]
        is_whole = blake3(cell).digest() == one["digest"].tobytes()
        yield (cell, one["lengths"].tolist()) if is_whole else None
        start = int(one["end"])


def _rows_of(cell: tuple[bytes, list[int]], id_bytes: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    data, (num_rows, *_, num_names, num_ids) = cell
    starts = [0]
    for size in (8 * num_rows, _RECORD.itemsize * num_rows, 4 * num_rows, num_names):
        starts.append(starts[-1] + size + -size % 8)
    positions = np.frombuffer(data, "<i8", num_rows, starts[0])
    ends = np.cumsum(np.frombuffer(data, _RECORD, num_rows, starts[1])["length"]).tolist()
    ids = np.frombuffer(data, f"<u{id_bytes}", num_ids, starts[4]).tolist()
    for position, start, end in zip(positions.tolist(), [0, *ends], ends, strict=False):
        yield position, tuple(ids[start:end])
