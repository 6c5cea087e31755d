"""Shuffle: a pool and tables of its rows -> files of rows in order, and the manifest's `order`.

tables -> a record of each row -> tokens of each step -> windows -> files, one task each -> index,
steps, documents and ledger. A pool that does not fit in memory is first laid out by position.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pipeline.config import OrderSpec
from pipeline.core.arrays import Int64Array
from pipeline.core.digest import FileDigest, fingerprint, sha256_bytes
from pipeline.core.errors import ConfigError
from pipeline.core.files import load_array, publish, publish_array
from pipeline.dataset import (
    DOCUMENTS,
    ORDER,
    PROVENANCE,
    STEPS,
    LedgerSpan,
    OrderedWindow,
    OrderRecord,
    StepWindow,
    join,
    provenance_file,
    root_of_multiset,
    split_files,
    split_windows,
)
from pipeline.dataset.parquet import write_steps
from pipeline.dataset.provenance import index_tasks, sort_rows, sort_tasks, write_index
from pipeline.order import save_permutation, view_edits
from pipeline.runner.cluster import Cluster
from pipeline.runner.shuffle.jobs import (
    RECORD_DTYPE,
    OrderTask,
    PoolFolder,
    Records,
    ScatterTask,
    ShuffleJob,
    TableTask,
    save_for_tasks,
)
from pipeline.runner.shuffle.row_table import load_table, make_table, records_of, view_arguments
from pipeline.runner.shuffle.scatter import scatter_rows, split_pool
from pipeline.runner.shuffle.write import order_rows, read_span
from pipeline.runner.task_cache import (
    TaskRecord,
    files_of,
    has_record,
    load_cached,
    publish_index,
    publish_output,
    save_record,
)

_ROWS_AT_ONCE = 4 << 20
# A token in a thousand may be cut.
_TOKENS_PER_CUT = 1000


def shuffle_pool(
    job: ShuffleJob,
    cluster: Cluster,
    *,
    phase: str,
    folders: Sequence[PoolFolder],
    tables: Sequence[TableTask] | None,
    scatters: bool,
    owner: str,
    allows_cut: bool,
) -> tuple[OrderRecord, dict[str, FileDigest]]:
    """Order all rows and write them; return the manifest's `order`, and the files.

    folders: of the pool's rows, in the order of its index. tables: how to make the table of each
    folder; None where the tables exist. scatters: whether to lay out the pool by position first,
    since it does not fit in memory. owner: fingerprint that the table of steps keeps. allows_cut:
    whether any number of tokens may lie beyond `max_seq_len`.

    Raises: ConfigError where these are too many, before any row is written.
    """
    spec, state = job.spec, job.state
    files_by_number = [[one.source, file] for one in folders for file in one.files]
    save_for_tasks(state, state.pool_files, files_by_number)
    save_permutation(job.permutation_key, state.orders, state.scratch)

    # Once some rows are written perhaps all are, so then nothing is scattered before it is needed.
    scattered = scatters and bool(tables) and not (state.records / ORDER).exists()
    key = _make_tables(job, tables, cluster, scatters=scattered)
    records, cut = _save_records(job, folders)
    if not allows_cut:
        _check_cut(spec, cut.num_cut + cut.num_beyond, int(records["length"].sum(dtype=np.int64)))
    tokens = _step_tokens(job, records)
    windows = split_windows(tokens[:-1], spec.window_tokens, phase)
    step_files = [file for window in windows for file in split_files(window, spec.format)]
    done = all(has_record(state, file.path, key) for file in step_files)
    if scatters and not scattered and not done:
        # The same ranges as at first, so that what an earlier run scattered is reused.
        ranges = [one.rows for one in tables or ()] or split_pool(records)
        _scatter(job, cluster, [ScatterTask(job=job, rows=rows) for rows in ranges])
        scattered = True

    tasks = [OrderTask(job=job, key=key, file=file, scattered=scattered) for file in step_files]
    written = cluster.map("order", order_rows, tasks)
    spans = [read_span(record) for record in written]
    digests = [digest for record in written for digest in record.sha256]
    files = files_of(written)
    if spec.format == "mds":
        parts = [file.path.removeprefix(f"{ORDER}/") for file in step_files]
        files.update(publish_index(state, ORDER, parts))
    files.update(_write_steps(job, tokens[:-1], digests, owner))
    files.update(_index_documents(job, key, cluster, tasks))
    described = OrderRecord(
        key=key,
        algorithm=spec.algorithm,
        seed=spec.seed,
        epoch=spec.epoch,
        view=spec.view,
        format=spec.format,
        num_samples=job.num_samples,
        num_steps=len(tokens) - 1,
        num_rows=job.num_rows,
        num_rows_dropped=job.num_samples - job.num_rows,
        num_tokens=int(tokens[:-1].sum()),
        num_tokens_dropped=int(tokens[-1]),
        num_tokens_cut=cut.num_cut,
        num_tokens_beyond=cut.num_beyond,
        num_tokens_added=cut.num_added,
        windows=_describe_windows(windows, spec.global_batch_size, tasks, spans),
        ledger=join(spans).describe(),
        root_sha256=sha256_bytes(b"".join(bytes.fromhex(digest) for digest in digests)),
    )
    return described, files


def _make_tables(
    job: ShuffleJob, tables: Sequence[TableTask] | None, cluster: Cluster, *, scatters: bool
) -> str:
    """Make missing tables; return the fingerprint of all that decides the bytes.

    scatters: lay out the rows as well, so that they are read once.
    """
    if tables is None:
        return job.key
    if scatters:
        tasks = [ScatterTask(job=job, rows=one.rows, table=one) for one in tables]
        digests = _scatter(job, cluster, tasks)
    else:
        digests = cluster.map("read the pool", make_table, tables)
    pool = fingerprint([digest for part in digests for digest in part])
    return fingerprint([job.key, pool])


def _scatter(job: ShuffleJob, cluster: Cluster, tasks: Sequence[ScatterTask]) -> list[list[str]]:
    """Lay out rows by position; return the digests of the shards whose tables were made."""
    scattered = cluster.map("scatter", scatter_rows, tasks)
    folders = [record.folder for record in scattered]
    save_for_tasks(job.state, job.state.scattered_folders, folders)
    return [[*record.shards] for record in scattered]


@dataclass(kw_only=True, slots=True)
class _Edits:
    """Tokens that the view adds and cuts, and those that it leaves beyond `max_seq_len`."""

    num_added: int = 0
    num_cut: int = 0
    num_beyond: int = 0


def _save_records(job: ShuffleJob, folders: Sequence[PoolFolder]) -> tuple[Records, _Edits]:
    """Save the records of all rows; map them, and count what the view does to them."""
    state, edits = job.state, _Edits()

    def parts() -> Iterator[Records]:
        first_file = 0
        for folder in folders:
            table = load_table(state, folder.table)
            cut, added = view_edits(*view_arguments(table, job))
            records = records_of(table, first_file, job)
            beyond = records["viewed"].astype(np.int64) - job.spec.max_seq_len
            edits.num_added += int(added.sum())
            edits.num_cut += int(cut.sum())
            edits.num_beyond += int(beyond[beyond > 0].sum())
            first_file += len(folder.files)
            yield records

    path = state.order("records")
    publish_array(path, state.scratch, RECORD_DTYPE, job.num_samples, parts())
    return load_array(path), edits


def _check_cut(spec: OrderSpec, num_cut: int, num_tokens: int) -> None:
    if num_cut * _TOKENS_PER_CUT > num_tokens:
        raise ConfigError(
            f"order.max_seq_len: {num_cut:,} of {num_tokens:,} tokens"
            f" ({num_cut / num_tokens:.1%}) lie beyond {spec.max_seq_len:,} in their rows, where no"
            " trainer sees them; expected at most 0.1 %",
            f"lower chunk.size to {spec.max_seq_len:,}, raise order.max_seq_len, or write"
            " `allow_cut: true` below `order`; finished work is kept",
        )


def _step_tokens(job: ShuffleJob, records: Records) -> Int64Array:
    """Return the tokens of each full step, and last of the rows beyond: int64 [num_steps + 1]."""
    order = job.load_permutation()
    batch_size = job.spec.global_batch_size
    num_steps = job.num_rows // batch_size
    tokens = np.zeros(num_steps + 1, np.int64)
    # By pool row, so that all is read front to back except the sums, of which there are few.
    for start in range(0, len(records), _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, len(records))
        steps = np.minimum(order.positions(start, stop) // batch_size, num_steps)
        # As floats, which are exact to 2^53.
        viewed = records["viewed"][start:stop]
        tokens += np.bincount(steps, weights=viewed, minlength=num_steps + 1).astype(np.int64)
    return tokens


def _describe_windows(
    windows: Sequence[StepWindow],
    batch_size: int,
    tasks: Sequence[OrderTask],
    spans: Sequence[LedgerSpan],
) -> tuple[OrderedWindow, ...]:
    multisets = dict.fromkeys((window.folder for window in windows), 0)
    for task, span in zip(tasks, spans, strict=True):
        multisets[task.file.window] += span.multiset
    return tuple(
        OrderedWindow(
            **asdict(window),
            first_row=window.first_step * batch_size,
            num_rows=window.num_steps * batch_size,
            multiset_root=root_of_multiset(multisets[window.folder]),
        )
        for window in windows
    )


def _write_steps(
    job: ShuffleJob, tokens: Int64Array, digests: list[str], owner: str
) -> dict[str, FileDigest]:
    state, path = job.state, job.state.root / STEPS
    num_rows = np.full(len(tokens), job.spec.global_batch_size, np.int64)
    with publish(path, state.scratch) as temporary:
        write_steps(temporary, num_rows=num_rows, num_tokens=tokens, sha256=digests, origin=owner)
    return publish_output(state, STEPS, path.read_bytes())


def _index_documents(
    job: ShuffleJob, key: str, cluster: Cluster, tasks: Sequence[OrderTask]
) -> dict[str, FileDigest]:
    """Write the provenance of all rows a second time, sorted by document."""
    out, state = job.out, job.state
    record = load_cached(state, DOCUMENTS, key, TaskRecord)
    if record is None:
        by_row = [out / provenance_file(task.file.path) for task in tasks]
        num_rows = [task.num_rows for task in tasks]
        sorting = sort_tasks(by_row, num_rows, state.root / "documents", state.scratch)
        cluster.map("sort documents", sort_rows, sorting)
        parts: list[Path] = [task.path for task in sorting]
        indexing = index_tasks(parts, job.num_rows, out / PROVENANCE, state.scratch)
        cluster.map("index documents", write_index, indexing)
        files = {
            task.path.relative_to(out).as_posix(): FileDigest.of(task.path) for task in indexing
        }
        record = TaskRecord(key=key, files=files)
        save_record(state, DOCUMENTS, record)
    return files_of([record])
