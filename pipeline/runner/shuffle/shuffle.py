"""Shuffle: a pool and tables of its rows -> files of rows in order, and the manifest's `order`.

tables -> tokens of each step -> windows -> files, one task each -> index, steps, documents and
ledger. A pool that does not fit in memory is first laid out by position. This process holds steps
and tasks, and nothing by row.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import TypedDict, Unpack

import numpy as np

from pipeline.config import OrderSpec
from pipeline.core.arrays import Int64Array
from pipeline.core.digest import FileDigest, fingerprint, sha256_bytes
from pipeline.core.errors import ConfigError
from pipeline.core.files import publish
from pipeline.core.json_record import ABSENT
from pipeline.dataset import (
    ORDER,
    PROVENANCE,
    STEPS,
    Ledger,
    LedgerSpan,
    OrderedWindow,
    OrderRecord,
    StepFile,
    StepWindow,
    join,
    provenance_file,
    root_of_multiset,
    split_files,
    split_windows,
)
from pipeline.dataset.parquet import write_steps
from pipeline.order import save_permutation
from pipeline.runner.cluster import Cluster
from pipeline.runner.merged_index import publish_indexes
from pipeline.runner.shuffle.index_rows import IndexJob, index_documents, plan_index
from pipeline.runner.shuffle.jobs import (
    OrderTask,
    PoolFolder,
    ShuffleJob,
    TableTask,
    save_for_tasks,
)
from pipeline.runner.shuffle.passes import Passes
from pipeline.runner.shuffle.pool_record import describe_pool, publish_permutation
from pipeline.runner.shuffle.row_table import make_table
from pipeline.runner.shuffle.step_tokens import RowCounts, count_tokens
from pipeline.runner.shuffle.write import check_order, order_rows, read_span
from pipeline.runner.task_cache import (
    OrderFileRecord,
    has_record,
    has_records_below,
    log_trusted,
    publish_output,
)

# Where all files were written, at most one in so many is made again by reading the pool at random,
# which is less than to lay out all of it.
_TASKS_PER_DAMAGED = 100
# A token in a thousand may be cut.
_TOKENS_PER_CUT = 1000


class PoolRows(TypedDict):
    """The rows of a pool, and how they are put in order."""

    phase: str
    folders: Sequence[PoolFolder]
    """Of its rows, in the order of its index."""
    tables: Sequence[TableTask] | None
    """How to make the table of each folder; None where the tables exist."""
    scatters: bool
    """Whether to lay out the pool by position first, since it does not fit in memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderedRows:
    """Rows in order, as the manifest describes them."""

    key: str
    """Fingerprint of all that decides their bytes."""
    tokens: Int64Array
    """Of each step, and last of the rows beyond: int64 [num_steps + 1]."""
    counts: RowCounts
    windows: tuple[OrderedWindow, ...]
    step_files: Sequence[StepFile]
    digests: list[str]
    """Of the steps."""
    ledger: Ledger
    files: dict[str, FileDigest]
    """Of rows and their provenance, as the job asks."""


def shuffle_pool(
    job: ShuffleJob, cluster: Cluster, *, owner: str, allows_cut: bool, **rows: Unpack[PoolRows]
) -> tuple[OrderRecord, dict[str, FileDigest]]:
    """Order all rows and write them; return the manifest's `order`, and the files.

    owner: fingerprint that the table of steps keeps. allows_cut: whether any number of tokens may
    lie beyond `max_seq_len`.

    Raises: ConfigError where these are too many, before any row is written.
    """
    spec = job.spec
    made = write_rows(job, cluster, allows_cut=allows_cut, **rows)
    tokens, counts, files = made.tokens, made.counts, made.files
    files.update(_write_steps(job, tokens[:-1], made.digests, owner))
    index = IndexJob(
        out=job.out, key=made.key, plan=plan_index(job.num_rows), hashes_all=job.hashes_all
    )
    batch = spec.global_batch_size
    by_row = [(provenance_file(one.path), one.num_steps * batch) for one in made.step_files]
    files.update(index_documents(index, cluster, by_row))
    if not job.writes_rows:
        files.update(publish_permutation(job))
    described = OrderRecord(
        key=made.key,
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
        num_tokens_cut=counts.num_cut,
        num_tokens_beyond=counts.num_beyond,
        num_tokens_added=counts.num_added,
        windows=made.windows,
        ledger=made.ledger.describe(),
        root_sha256=sha256_bytes(bytes.fromhex("".join(made.digests))),
        pool=ABSENT if job.writes_rows else describe_pool(job),
    )
    return described, files


def write_rows(
    job: ShuffleJob,
    cluster: Cluster,
    *,
    phase: str,
    folders: Sequence[PoolFolder],
    tables: Sequence[TableTask] | None,
    scatters: bool,
    allows_cut: bool,
) -> OrderedRows:
    """Write rows and their provenance, each if the job asks for it. Raises: as `shuffle_pool`."""
    spec, state = job.spec, job.state
    files_by_number = [[one.source, file] for one in folders for file in one.files]
    save_for_tasks(state, state.pool_files, files_by_number)
    save_permutation(job.permutation_key, state.orders, state.scratch)

    passes = Passes(job, cluster, folders) if scatters else None
    key = _make_tables(job, cluster, tables, passes)
    tokens, counts = count_tokens(job, cluster, folders, saves=not scatters)
    if not allows_cut:
        _check_cut(spec, counts.num_cut + counts.num_beyond, counts.num_tokens)
    windows = split_windows(tokens[:-1], spec.window_tokens, phase)
    step_files = [file for window in windows for file in split_files(window, spec.format)]
    tasks = [OrderTask(job=job, key=key, file=file, layout=None) for file in step_files]
    written = _Written()
    ledger = join(written.spans(tasks, _order(job, cluster, folders, tasks, passes)))
    if passes is not None:
        passes.remove()
    files = written.files
    if spec.format == "mds" and job.writes_rows:
        parts = [file.path.removeprefix(f"{ORDER}/") for file in step_files]
        files.update(publish_indexes(state, ORDER, parts))
    return OrderedRows(
        key=key,
        tokens=tokens,
        counts=counts,
        windows=_describe_windows(windows, spec.global_batch_size, written.multisets),
        step_files=step_files,
        digests=written.digests,
        ledger=ledger,
        files=files,
    )


def _make_tables(
    job: ShuffleJob,
    cluster: Cluster,
    tables: Sequence[TableTask] | None,
    passes: Passes | None,
) -> str:
    """Make missing tables; return the fingerprint of all that decides the bytes.

    Rows that are laid out on disk are scattered on the way, so that they are read once.
    """
    if tables is None:
        return job.key
    # Once some rows are written perhaps all are, so then nothing is scattered before it is needed.
    is_begun = has_records_below(job.state, ORDER if job.writes_rows else PROVENANCE)
    if passes is not None and passes.can_make_tables() and not is_begun:
        digests = passes.scatter(tables)
    else:
        digests = cluster.map("read the pool", make_table, tables)
    pool = fingerprint([digest for part in digests for digest in part])
    return fingerprint([job.key, pool])


def _order(
    job: ShuffleJob,
    cluster: Cluster,
    folders: Sequence[PoolFolder],
    tasks: Sequence[OrderTask],
    passes: Passes | None,
) -> Iterator[OrderFileRecord]:
    """Write the files that are not there and intact; yield the records of all, in order."""
    recorded = [task for task in tasks if has_record(job.state, task.name, task.key)]
    checked = cluster.map("check the order", check_order, recorded)
    known = {
        task.file.path: record
        for task, record in zip(recorded, checked, strict=True)
        if record is not None
    }
    log_trusted(known.values())
    missing = [task for task in tasks if task.file.path not in known]
    if missing:
        job.state.ordered.unlink(missing_ok=True)
    gathering: AbstractContextManager[None] = nullcontext()
    if passes is not None and missing:
        if len(recorded) == len(tasks) and len(missing) <= max(1, len(tasks) // _TASKS_PER_DAMAGED):
            count_tokens(job, cluster, folders, saves=True)
        else:
            passes.run(missing)
            gathering = passes.checking()
            missing = [replace(task, layout=passes.layout) for task in missing]
    with gathering:
        written = cluster.each("order", order_rows, missing)
        for task in tasks:
            path = task.file.path
            yield known.pop(path) if path in known else next(written)
        # The stage ends once nothing more is asked of it.
        if next(written, None) is not None:
            raise AssertionError("got more results than tasks")


class _Written:
    """What the manifest says of the files of rows.

    A record has the digests of up to 2,048 rows, so each is let go as soon as it is summed up.
    """

    def __init__(self) -> None:
        self.files: dict[str, FileDigest] = {}
        self.digests: list[str] = []
        """Of the steps."""
        self.multisets: defaultdict[str, int] = defaultdict(int)
        """By window, the sum of the digests of its rows."""

    def spans(
        self, tasks: Sequence[OrderTask], records: Iterator[OrderFileRecord]
    ) -> Iterator[LedgerSpan]:
        """Sum up the records of some tasks; yield the ledger of each."""
        for task, record in zip(tasks, records, strict=True):
            self.files.update(record.files)
            self.digests += record.sha256
            span = read_span(record)
            self.multisets[task.file.window] += span.multiset
            yield span


def _check_cut(spec: OrderSpec, num_cut: int, num_tokens: int) -> None:
    if num_cut * _TOKENS_PER_CUT > num_tokens:
        raise ConfigError(
            f"order.max_seq_len: {num_cut:,} of {num_tokens:,} tokens"
            f" ({num_cut / num_tokens:.1%}) lie beyond {spec.max_seq_len:,} in their rows, where no"
            " trainer sees them; expected at most 0.1 %",
            f"lower chunk.size to {spec.max_seq_len:,}, raise order.max_seq_len, or write"
            " `allow_cut: true` below `order`; finished work is kept",
        )


def _describe_windows(
    windows: Sequence[StepWindow],
    batch_size: int,
    multisets: Mapping[str, int],
) -> tuple[OrderedWindow, ...]:
    return tuple(
        OrderedWindow(
            **asdict(window),
            first_row=window.first_step * batch_size,
            num_rows=window.num_steps * batch_size,
            multiset_root=root_of_multiset(multisets.get(window.folder, 0)),
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
