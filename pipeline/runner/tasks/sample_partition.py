"""Sample a partition: a folder of all its chunks -> a folder of the sampled ones, as one task.

Sources without a budget, repetitions or a holdout do not go through here: their folders are final.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import ChunkSpec, ShardSpec
from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.core.digest import FileDigest
from pipeline.core.errors import OutputError
from pipeline.core.files import publish
from pipeline.core.mirrored import remove_file
from pipeline.core.progress import Work, measured
from pipeline.dataset import VALIDATION, State, is_output_file, sampled_file
from pipeline.dataset.mds import MdsWriter, Pool, write_stats
from pipeline.dataset.parquet import read_columns, write_columns
from pipeline.runner.shuffle import load_table, save_empty_table, save_table
from pipeline.runner.task_cache import PartitionOutput, below, distrust_order, recording
from pipeline.runner.tasks.read_documents import Input, load_cached_for
from pipeline.runner.tasks.training_chunks import TrainingChunks
from pipeline.stages.sampling import Draw, longest_first, rows_to_write

# Rows copied at a time: about 4 MiB of ids at 1,024 ids a row.
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class CachedSampleTask:
    """Where to look for an earlier sample in `out`, and what it must have been made from."""

    out: Path
    partition: str
    inputs: tuple[Input, ...]
    key: str
    """Fingerprint of all that decides the bytes except the bytes of the source's inputs."""
    cls_id: int
    sep_id: int
    hashes_all: bool
    """Whether files of an earlier run are read, as `load_cached` says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleTask:
    """Everything that one partition's sampled chunks are made from."""

    out: Path
    folder: str
    """Where the shards go, relative to `out`."""
    source: str
    key: str
    """Fingerprint of all that decides the bytes except the bytes of the source's inputs."""
    together: str
    """Fingerprint of all inputs from which the sample was decided."""
    record: PartitionOutput
    """The record of the partition's chunks."""
    chunks: TrainingChunks
    """Which of them are for training."""
    holdout_folder: str
    """All chunks as the holdout has them, relative to `out`."""
    holdout_chunk: ChunkSpec
    num_repetitions: int
    """How often every chunk for training is sampled."""
    draw: Draw
    """Chooses those that are sampled once more."""
    takes_longest: bool
    """Whether they are written from the longest down; else in the order of the file."""
    chunk: ChunkSpec
    shards: ShardSpec
    cls_id: int
    sep_id: int
    hashes_all: bool
    """Whether files of an earlier run are read, as `load_cached` says."""


def find_cached_sample(task: CachedSampleTask) -> PartitionOutput | None:
    """Return the record of an earlier sample, if it is intact and its inputs unchanged."""
    state, source, partition = State(out=task.out), task.inputs[0].source, task.partition
    name = sample_name(source, partition)
    record = load_cached_for(
        task.inputs, state, name, task.key, PartitionOutput, hashes_all=task.hashes_all
    )
    if record is not None:
        numbers = read_columns(state.out / sampled_file(source, partition))
        _save_table(state, record, task.cls_id, task.sep_id, numbers)
    return record


def sample_name(source: str, partition: str) -> str:
    """Return the name of the task that samples a partition."""
    return f"draws/{source}/{partition}"


@measured(lambda task, record: Work(num_tokens=record.tokens.drawn))
def sample_partition(task: SampleTask) -> PartitionOutput:
    """Write the sampled chunks of a partition; return the record of chunks and sample together."""
    state, name = State(out=task.out), sample_name(task.source, task.record.partition)
    distrust_order(state, name, hashes_all=task.hashes_all)
    with recording(state, name) as save:
        record, numbers = _sample(task, state)
        save(record)
    _save_table(state, record, task.cls_id, task.sep_id, numbers)
    return record


def _sample(task: SampleTask, state: State) -> tuple[PartitionOutput, dict[str, Uint32Array]]:
    """Write the sampled chunks; return the record, and what the table of rows says of each."""
    source, partition = task.source, task.record.partition
    pool = Pool.open(task.out / task.record.folder)
    lengths, is_held = pool.lengths(), task.chunks.held_out()
    holdout, others = np.flatnonzero(is_held), np.flatnonzero(~is_held)
    order = longest_first(lengths[others]) if task.takes_longest else np.arange(len(others))
    again = task.draw.taken(lengths[others])
    rows = others[rows_to_write(task.num_repetitions, again, order)]
    discarded = task.record.tokens.discarded
    # As published, what gives no row has no folder.
    files = _write_rows(task, pool, task.folder, task.chunk, rows, discarded) if len(rows) else {}
    if len(holdout):
        folder, held = f"{VALIDATION}/{task.folder}", Pool.open(task.out / task.holdout_folder)
        # A folder that is held out whole has what was discarded, and none in training does.
        rest = discarded if is_held.all() else 0
        files.update(_write_rows(task, held, folder, task.holdout_chunk, holdout, rest))
    all_rows = load_table(state, task.record.folder)
    table = all_rows[rows]
    names = ["chunk", "num_chunks", *(["file"] if task.record.more_inputs else [])]
    numbers = {name: np.ascontiguousarray(table[name]) for name in names}
    sampled = sampled_file(source, partition)
    with publish(task.out / sampled, state.scratch, syncs=False) as temporary:
        files[sampled] = write_columns(temporary, numbers)
    _check_chunks(task)
    kept = {path: about for path, about in task.record.files.items() if is_output_file(path)}
    num_held, num_sampled = int(lengths[holdout].sum()), int(lengths[rows].sum())
    record = replace(
        task.record,
        task=sample_name(source, partition),
        key=task.key,
        together=task.together,
        folder=task.folder,
        tokens=replace(task.record.tokens, validation=num_held, drawn=num_sampled),
        chunks=replace(task.record.chunks, validation=len(holdout), drawn=len(rows)),
        **_with_validation(task.record, all_rows["file"][holdout]),
        files={**kept, **files},
    )
    return record, numbers


def _check_chunks(task: SampleTask) -> None:
    """Insist that the rows that were read are those that were chunked. Raises: OutputError.

    What is damaged between would otherwise be sampled, and nothing could find it later.
    """
    for path, file in task.record.files.items():
        # The others are about them, and decide nothing.
        is_read = not is_output_file(path) and not path.endswith(".json")
        if is_read and not file.matches(task.out / path):
            # A rerun that trusts it would fail again.
            with suppress(OSError):
                remove_file(task.out / path)
            raise OutputError(
                f"{task.out / path}: got damaged work of an unfinished run, expected it as it was"
                " written",
                "run the same command again: what is damaged is made again",
            )


def _save_table(
    state: State,
    record: PartitionOutput,
    cls_id: int,
    sep_id: int,
    numbers: Mapping[str, Uint32Array],
) -> None:
    if record.chunks.drawn:
        save_table(state, record.folder, cls_id, sep_id, numbers)
    else:
        save_empty_table(state, record.folder)


def _with_validation(record: PartitionOutput, files: Uint32Array) -> dict[str, Any]:
    """Return the inputs of a partition of several, with the rows for validation of each.

    files: uint32 [num_holdout], the file of each such row.
    """
    if not record.more_inputs:
        return {}
    counts = np.bincount(files, minlength=len(record.inputs)).tolist()
    first, *more = (
        replace(one, num_validation=count) for one, count in zip(record.inputs, counts, strict=True)
    )
    return {"input": first, "more_inputs": tuple(more)}


def _write_rows(
    task: SampleTask,
    pool: Pool,
    folder: str,
    chunk: ChunkSpec,
    rows: Int64Array,
    num_discarded: int,
) -> dict[str, FileDigest]:
    """Write some rows of a pool as a folder of shards; return what its files are."""
    lengths = [np.empty(0, np.int64)]
    with publish(task.out / folder, State(out=task.out).scratch, syncs=False) as temporary:
        temporary.mkdir()
        writer = MdsWriter.of(temporary, task.shards)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            ids, names = pool.take_named(rows[start : start + _ROWS_AT_ONCE])
            documents = [name.tobytes() for name in names]
            writer.write(documents, np.arange(len(documents)), ids.values, ids.offsets)
            lengths.append(ids.lengths())
        writer.finish()
        stats = write_stats(temporary, chunk, np.concatenate(lengths), num_discarded)
        return below(folder, writer.files, stats)
