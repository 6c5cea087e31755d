"""The stage: a pool and tables of its rows -> files of rows in order, and what is said of them.

lengths and positions of all rows -> tokens of each step -> windows and files -> the files, written
by tasks. A pool that does not fit into memory is laid out by position first.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pipeline.config import OrderSpec
from pipeline.core.arrays import Int64Array
from pipeline.core.digest import fingerprint, sha256_bytes
from pipeline.core.files import publish, publish_array
from pipeline.dataset import (
    DOCUMENTS,
    ORDER,
    PROVENANCE,
    STEPS,
    LedgerSpan,
    StepFile,
    StepWindow,
    join,
    provenance_file,
    root_of_multiset,
    split_files,
    split_windows,
)
from pipeline.dataset.mds import INDEX_NAME, index_bytes, merge_indexes
from pipeline.dataset.parquet import write_steps
from pipeline.dataset.provenance import index_tasks, sort_rows, sort_tasks, write_index
from pipeline.order import load_permutation, save_permutation, view_edits
from pipeline.runner.cluster import Cluster
from pipeline.runner.shuffle.row_table import Table, load_table, make_table, records_of
from pipeline.runner.shuffle.scatter import scatter_rows, split_pool
from pipeline.runner.shuffle.shared_state import save_folders, save_scattered
from pipeline.runner.shuffle.tasks import (
    RECORD_DTYPE,
    Common,
    OrderTask,
    PoolFolder,
    Records,
    ScatterTask,
    TableTask,
)
from pipeline.runner.shuffle.write import order_rows, read_span
from pipeline.runner.task_cache import (
    TaskRecord,
    describe_file,
    files_of,
    is_recorded,
    load_standing,
    publish_output,
    save_record,
)

_ROWS_AT_ONCE = 4 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Ordering:
    """What is to be ordered, and how."""

    common: Common
    """What every task works with."""
    spec: OrderSpec
    """As declared."""
    phase: str
    """Stage of training, after which windows are named."""
    folders: Sequence[PoolFolder]
    """The runs of the pool's rows, in the order of its index."""
    tables: Sequence[TableTask] | None
    """How to make the tables of the folders, one of each, if there are none yet."""
    scatters: bool
    """Whether the pool is laid out by position first, since it does not fit into memory."""
    origin: str
    """Fingerprint of what the order belongs to, kept in the table of steps."""


def write_order(ordering: Ordering, engine: Cluster) -> tuple[dict[str, Any], dict[str, Any]]:
    """Order all rows and write them; return the manifest's part on it, and the files."""
    spec, state = ordering.spec, ordering.common.state
    save_folders(state, ordering.folders)
    save_permutation(ordering.common.order, state.orders, state.scratch)
    given = ordering
    ordering, scattered = _make_tables(given, engine)
    common = ordering.common
    records, cut, added = _save_records(ordering)
    tokens, num_tokens_dropped = _step_tokens(ordering, records)
    windows = split_windows(tokens, spec.window_tokens, ordering.phase)
    step_files = [file for window in windows for file in split_files(window, spec.format)]
    recorded = all(is_recorded(state, file.path, common.key) for file in step_files)
    if ordering.scatters and not scattered and not recorded:
        # As at first, so that what an earlier run laid out is found.
        ranges = [one.rows for one in given.tables] if given.tables else split_pool(records)
        _lay_out(
            given,
            engine,
            [ScatterTask(common=given.common, start=start, stop=stop) for start, stop in ranges],
        )
        scattered = True
    tasks = [OrderTask(common=common, file=file, scattered=scattered) for file in step_files]
    made = engine.map("order", order_rows, tasks)
    files = files_of(made)
    if spec.format == "mds":
        files.update(_write_index(ordering, step_files))
    digests = [digest for record in made for digest in record["sha256"]]
    files.update(_write_steps(ordering, tokens, digests))
    files.update(_write_documents(ordering, engine, tasks))
    ledger = join(read_span(record["span"]) for record in made)
    described = {
        "key": common.key,
        "algorithm": spec.algorithm,
        "seed": spec.seed,
        "epoch": spec.epoch,
        "view": spec.view,
        "format": spec.format,
        "num_samples": len(records),
        "num_steps": len(tokens),
        "num_rows": common.num_rows,
        "num_rows_dropped": len(records) - common.num_rows,
        "num_tokens": int(tokens.sum()),
        "num_tokens_dropped": num_tokens_dropped,
        "num_tokens_cut": cut,
        "num_tokens_added": added,
        "windows": _describe_windows(windows, common.batch_size, tasks, made),
        "ledger": ledger.describe(),
        "root_sha256": sha256_bytes(b"".join(bytes.fromhex(digest) for digest in digests)),
    }
    return described, files


def _make_tables(ordering: Ordering, engine: Cluster) -> tuple[Ordering, bool]:
    """Make tables that are missing, where that is so; tell whether rows were laid out on the way.

    What then decides the bytes of the order are those of the pool, too.
    """
    if ordering.tables is None:
        return ordering, False
    # If some rows stand in order already, perhaps all do, so nothing is laid out unasked.
    lays_out = ordering.scatters and not (ordering.common.state.records / ORDER).exists()
    if lays_out:
        tasks = [
            ScatterTask(common=one.common, start=one.rows[0], stop=one.rows[1], table=one)
            for one in ordering.tables
        ]
        digests = _lay_out(ordering, engine, tasks)
    else:
        digests = engine.map("read the pool", make_table, ordering.tables)
    pool = fingerprint([digest for part in digests for digest in part])
    common = replace(ordering.common, key=fingerprint([ordering.common.key, pool]))
    return replace(ordering, common=common), lays_out


def _lay_out(ordering: Ordering, engine: Cluster, tasks: Sequence[ScatterTask]) -> list[list[str]]:
    """Lay out rows by position; return the digests of the shards that were read for it."""
    laid_out = engine.map("lay out by position", scatter_rows, tasks)
    save_scattered(ordering.common.state, [record["folder"] for record in laid_out])
    return [record["shards"] for record in laid_out]


def _write_index(ordering: Ordering, step_files: Sequence[StepFile]) -> dict[str, Any]:
    """Write the index of all ordered shards, so that a trainer reads them as one."""
    state = ordering.common.state
    indexes = [
        (
            file.path.removeprefix(f"{ORDER}/"),
            json.loads((state.out / file.path / INDEX_NAME).read_bytes()),
        )
        for file in step_files
    ]
    data = index_bytes(merge_indexes(indexes), merged=True)
    return publish_output(state, f"{ORDER}/{INDEX_NAME}", data)


def default_memory_bytes() -> int:
    """Return how large a pool may be that is read at random: half of the machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _tables(ordering: Ordering) -> Iterator[tuple[int, Table]]:
    for number, folder in enumerate(ordering.folders):
        yield number, load_table(ordering.common.state, folder.table)


def _save_records(ordering: Ordering) -> tuple[Records, int, int]:
    """Save the records of all rows; return them, and the tokens that the view cuts and adds."""
    common, state = ordering.common, ordering.common.state
    cut = added = 0

    def parts() -> Iterator[Records]:
        nonlocal cut, added
        for number, table in _tables(ordering):
            lengths = table["length"].astype(np.int64)
            flags = (table["has_cls"], table["has_sep"])
            cut_here, added_here = view_edits(lengths, *flags, common.view, common.max_seq_len)
            cut, added = cut + int(cut_here.sum()), added + int(added_here.sum())
            yield records_of(table, number, common)

    path = state.order("records")
    publish_array(path, state.scratch, RECORD_DTYPE, common.order.num_samples, parts())
    mapped: Records = np.load(path, mmap_mode="r")
    return mapped, cut, added


def _step_tokens(ordering: Ordering, records: Records) -> tuple[Int64Array, int]:
    """Return the tokens of each full step, int64 [num_steps], and those of the rows beyond."""
    common = ordering.common
    order = load_permutation(common.order, common.state.orders)
    num_steps = common.num_rows // common.batch_size
    tokens = np.zeros(num_steps + 1, np.int64)
    # By pool row, so that all is read front to back but the sums, of which there are few.
    for start in range(0, len(records), _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, len(records))
        steps = np.minimum(order.positions(start, stop) // common.batch_size, num_steps)
        # As floats, which are exact to 2^53.
        viewed = records["viewed"][start:stop]
        tokens += np.bincount(steps, weights=viewed, minlength=num_steps + 1).astype(np.int64)
    return tokens[:-1], int(tokens[-1])


def _describe_windows(
    windows: Sequence[StepWindow],
    batch_size: int,
    tasks: Sequence[OrderTask],
    made: Sequence[TaskRecord],
) -> list[dict[str, Any]]:
    spans: dict[str, list[LedgerSpan]] = {window.folder: [] for window in windows}
    for task, record in zip(tasks, made, strict=True):
        spans[task.file.window].append(read_span(record["span"]))
    return [
        {
            **asdict(window),
            "first_row": window.first_step * batch_size,
            "num_rows": window.num_steps * batch_size,
            "multiset_root": root_of_multiset(sum(one.multiset for one in spans[window.folder])),
        }
        for window in windows
    ]


def _write_documents(
    ordering: Ordering, engine: Cluster, tasks: Sequence[OrderTask]
) -> dict[str, Any]:
    """Write the provenance of all rows once more, sorted by document."""
    common, state = ordering.common, ordering.common.state
    record = load_standing(state, DOCUMENTS, common.key)
    if record is not None:
        return files_of([record])
    row_files = [common.out / provenance_file(task.file.path) for task in tasks]
    num_rows = [task.num_rows for task in tasks]
    first_pass = sort_tasks(row_files, num_rows, state.root / "documents", state.scratch)
    engine.map("sort documents", sort_rows, first_pass)
    second_pass = index_tasks(
        [task.path for task in first_pass], common.num_rows, common.out / PROVENANCE, state.scratch
    )
    engine.map("index documents", write_index, second_pass)
    paths = [task.path for task in second_pass]
    files = {path.relative_to(common.out).as_posix(): describe_file(path) for path in paths}
    save_record(state, DOCUMENTS, {"key": common.key, "files": files})
    return files


def _write_steps(ordering: Ordering, tokens: Int64Array, digests: list[str]) -> dict[str, Any]:
    state = ordering.common.state
    num_rows = np.full(len(tokens), ordering.common.batch_size, np.int64)
    made = state.root / STEPS
    with publish(made, state.scratch) as temporary:
        write_steps(
            temporary,
            num_rows=num_rows,
            num_tokens=tokens,
            sha256=digests,
            origin=ordering.origin,
        )
    return publish_output(state, STEPS, made.read_bytes())
