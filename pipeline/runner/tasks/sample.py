"""Drawing: a folder of all chunks of a partition -> a folder of the drawn ones, as one task.

Only sources with a budget, with repetitions or with documents set aside for validation go through
here; the folders of the others are final as they are made, each chunk drawn once.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import ShardSpec
from pipeline.core.arrays import BoolArray, Int64Array, Uint32Array
from pipeline.core.files import publish
from pipeline.dataset import VALIDATION, State, drawn_file, is_output_file
from pipeline.dataset.mds import MdsWriter, Pool, write_stats
from pipeline.dataset.parquet import read_columns, write_columns
from pipeline.runner.shuffle.row_table import load_table, save_table
from pipeline.runner.task_cache import (
    TaskRecord,
    describe,
    describe_folder,
    load_standing,
    save_record,
)
from pipeline.runner.tasks.read_documents import Input, is_same_input
from pipeline.stages.sampling import rows_to_write

# Rows copied at a time: about 4 MiB of ids at 1,024 ids a row.
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class StandingTask:
    """Where to look for an earlier draw, and what it must have come from."""

    out: Path
    """The output folder, absolute."""
    input: Input
    """The input file."""
    key: str
    """Fingerprint of all that decides the bytes, but for the bytes of the source's inputs."""
    cls_id: int
    """Id that starts a sequence."""
    sep_id: int
    """Id that ends one."""

    @property
    def source(self) -> str:
        """The source that the file belongs to."""
        return self.input.source


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawTask:
    """Everything that one partition's drawn chunks are made from."""

    out: Path
    """The output folder, absolute."""
    folder: str
    """Where the shards go, relative to `out`."""
    source: str
    """The source that the partition belongs to."""
    key: str
    """Fingerprint of all that decides the bytes, but for the bytes of the source's inputs."""
    together: str
    """Fingerprint of all inputs from which the draw was decided."""
    chunks: TaskRecord
    """The record of the partition's chunks."""
    validation: BoolArray
    """bool [num_chunks], those set aside; all that follows is of the others."""
    num_repetitions: int
    """How often every chunk is drawn."""
    again: BoolArray
    """bool [num_chunks - num_validation], the chunks that are drawn once more."""
    shards: ShardSpec
    """As declared."""
    cls_id: int
    """Id that starts a sequence."""
    sep_id: int
    """Id that ends one."""


def standing_draw(task: StandingTask) -> TaskRecord | None:
    """Return the record of an earlier draw, if it and the input that it came from still stand."""
    state = State(out=task.out)
    partition = task.input.file.partition
    record = load_standing(state, _name(task.source, partition), task.key)
    if record is None or not is_same_input(task.input, record["input"]):
        return None
    numbers = read_columns(state.out / drawn_file(task.source, partition))
    save_table(
        state, record["folder"], task.cls_id, task.sep_id, (numbers["chunk"], numbers["num_chunks"])
    )
    return record


def _name(source: str, partition: str) -> str:
    return f"draws/{source}/{partition}"


def draw_partition(task: DrawTask) -> TaskRecord:
    """Write the drawn chunks of a partition; return the record of chunks and draw together."""
    state = State(out=task.out)
    source, partition = task.source, task.chunks["partition"]
    pool = Pool.open(task.out / task.chunks["folder"])
    validation = np.flatnonzero(task.validation)
    rows = np.flatnonzero(~task.validation)[rows_to_write(task.num_repetitions, task.again)]
    lengths = pool.lengths()
    discarded = task.chunks["tokens"]["discarded"]
    files = _write_rows(task, pool, task.folder, rows, discarded)
    if len(validation):
        files.update(_write_rows(task, pool, f"{VALIDATION}/{task.folder}", validation, 0))
    table = load_table(state, task.chunks["folder"])[rows]
    numbers: tuple[Uint32Array, Uint32Array] = (
        np.ascontiguousarray(table["chunk"]),
        np.ascontiguousarray(table["num_chunks"]),
    )
    drawn = drawn_file(source, partition)
    with publish(task.out / drawn, state.scratch) as temporary:
        write_columns(temporary, {"chunk": numbers[0], "num_chunks": numbers[1]})
        files.update(describe(temporary, drawn))
    kept = {path: about for path, about in task.chunks["files"].items() if is_output_file(path)}
    record = {
        **task.chunks,
        "task": _name(source, partition),
        "key": task.key,
        "together": task.together,
        "folder": task.folder,
        "tokens": {
            **task.chunks["tokens"],
            "validation": int(lengths[validation].sum()),
            "drawn": int(lengths[rows].sum()),
        },
        "chunks": {
            **task.chunks["chunks"],
            "validation": len(validation),
            "drawn": len(rows),
        },
        "files": {**kept, **files},
    }
    save_record(state, record["task"], record)
    save_table(state, task.folder, task.cls_id, task.sep_id, numbers)
    return record


def _write_rows(
    task: DrawTask, pool: Pool, folder: str, rows: Int64Array, num_discarded: int
) -> dict[str, Any]:
    """Write some rows of a pool as a folder of shards; return what its files are."""
    lengths = pool.lengths()[rows]
    with publish(task.out / folder, State(out=task.out).scratch) as temporary:
        temporary.mkdir()
        writer = MdsWriter(
            folder=temporary, dtype=task.shards.dtype, size_limit=task.shards.size_limit
        )
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            documents = [id_.encode() for id_ in pool.document_ids(rows[part])]
            offsets = np.concatenate([[0], np.cumsum(lengths[part])])
            ids = pool.gather(rows[part], lengths[part])
            writer.write(documents, np.arange(len(documents)), ids, offsets)
        writer.finish()
        write_stats(temporary, lengths, num_discarded)
        return describe_folder(temporary, folder)
