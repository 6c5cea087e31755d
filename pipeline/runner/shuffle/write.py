"""Write: a range of steps -> one file of ordered rows, its provenance and its digests, as one task.

Memory is bounded: rows are read, viewed, digested and written some millions of ids at a time.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.core.compiled import compiled_late
from pipeline.core.digest import FileDigest
from pipeline.core.files import publish
from pipeline.core.progress import Work, measured
from pipeline.core.ragged import Rows, offsets_of
from pipeline.dataset import LedgerSpan, provenance_file, row_digests
from pipeline.dataset.mds import MdsWriter, Pool
from pipeline.dataset.parquet import RowWriter, read_rows
from pipeline.dataset.provenance import ProvenanceBlock, ProvenanceWriter
from pipeline.order import apply_view
from pipeline.runner.shuffle.gather import Names, read_blocks
from pipeline.runner.shuffle.jobs import OrderTask, load_files
from pipeline.runner.task_cache import (
    OrderFileRecord,
    SpanRecord,
    below,
    load_cached,
    recording,
    save_record,
)

# Ids written at a time, each time as one row group of parquet: 16 MiB.
_IDS_AT_ONCE = 4 << 20


def check_order(task: OrderTask) -> OrderFileRecord | None:
    """Return the record of a file of ordered rows; None unless the file is there and intact."""
    state, path, hashes_all = task.job.state, task.file.path, task.job.hashes_all
    record = load_cached(state, task.name, task.key, OrderFileRecord, hashes_all=hashes_all)
    if record is None or record.span is not None:
        return record
    if not task.job.writes_rows:
        return None
    # Restored from a manifest, which keeps no more than the ledger's whole nodes.
    span = LedgerSpan(start_row=task.first_row)
    for rows in _read_file(task.job.out / path):
        span.add(row_digests(rows.values, rows.offsets))
    record = replace(record, span=describe_span(span))
    save_record(state, path, record)
    return record


@measured(lambda task, record: Work(num_tokens=sum(record.num_tokens)))
def order_rows(task: OrderTask) -> OrderFileRecord:
    """Write a file of ordered rows, unless that is done."""
    if (done := check_order(task)) is not None:
        return done
    with recording(task.job.state, task.name) as save:
        record = _write(task)
        save(record)
    return record


def _write(task: OrderTask) -> OrderFileRecord:
    """Publish a file of ordered rows and its provenance, or one of them; return their record."""
    job, path = task.job, task.file.path
    with ExitStack() as stack:
        rows, provenance = (
            stack.enter_context(publish(job.out / name, job.state.scratch, syncs=False))
            if is_written
            else None
            for name, is_written in (
                (path, job.writes_rows),
                (provenance_file(path), job.writes_provenance),
            )
        )
        steps, span, files = _write_rows(task, rows, provenance)
    return OrderFileRecord(
        key=task.key,
        num_tokens=tuple(steps.tokens),
        sha256=tuple(steps.digests),
        span=describe_span(span),
        files=files,
    )


def _write_rows(
    task: OrderTask, path: Path | None, provenance_path: Path | None
) -> "tuple[_Steps, LedgerSpan, dict[str, FileDigest]]":
    """Write the rows of a task and where they come from, each if asked; return what was written."""
    job, spec = task.job, task.job.spec
    steps = _Steps(spec.global_batch_size)
    span = LedgerSpan(start_row=task.first_row)
    row = 0
    files: dict[str, FileDigest] = {}
    with (
        _open_writer(path, task, files) as write_rows,
        _open_provenance(provenance_path, task, files) as write_provenance,
    ):
        for block in read_blocks(task, _IDS_AT_ONCE):
            stored, records = block.ids, block.records
            offsets = offsets_of(records["viewed"])
            ids = apply_view(
                stored.values, stored.offsets, offsets, spec.view, job.cls_id, job.sep_id
            )
            in_file = np.arange(row, row + len(records)) // spec.global_batch_size
            row += len(records)
            write_rows(Rows(ids, offsets), in_file + task.file.first_label, block.names)
            write_provenance(
                ProvenanceBlock(
                    steps=in_file + task.file.first_step + 1,
                    places=records["file"].astype(np.int32),
                    documents=block.names.values,
                    offsets=block.names.offsets,
                    chunks=records["chunk"],
                    num_chunks=records["num_chunks"],
                    num_tokens=records["viewed"],
                )
            )
            span.add(row_digests(ids, offsets))
            steps.add(ids, offsets)
    return steps, span, files


_WriteRows = Callable[[Rows, Int64Array, Names], None]
"""Writes rows under their view, with the label of each row's step and the id of its document."""


@contextmanager
def _open_provenance(
    path: Path | None, task: OrderTask, files: dict[str, FileDigest]
) -> Iterator[Callable[[ProvenanceBlock], None]]:
    """Open a writer of provenance, or of nothing; on a clean exit add its file to `files`."""
    if path is None:
        yield lambda block: None
        return
    with ProvenanceWriter(path, task.first_row, load_files(task.job.state)) as provenance:
        yield provenance.write
    files[provenance_file(task.file.path)] = provenance.file.digest


@contextmanager
def _open_writer(
    path: Path | None, task: OrderTask, files: dict[str, FileDigest]
) -> Iterator[_WriteRows]:
    """Open a writer for the format of an order, or of nothing; on a clean exit add to `files`."""
    job = task.job
    if path is None:
        yield lambda rows, steps, names: None
        return
    if job.spec.format == "parquet":
        with RowWriter(path) as parquet:
            yield lambda rows, steps, names: parquet.write(rows.values, rows.offsets, steps)
        files[task.file.path] = parquet.file.digest
        return
    path.mkdir()
    # To train from: the public reader deletes shards beside an index that names compressed ones.
    mds = MdsWriter.of(path, replace(job.shards, index_compression=None))

    def write(rows: Rows, steps: Int64Array, names: Names) -> None:
        text = names.values.tobytes()
        documents = [text[start:stop] for start, stop in pairwise(names.offsets.tolist())]
        mds.write(documents, np.arange(len(documents)), rows.values, rows.offsets)

    yield write
    mds.finish()
    files.update(below(task.file.path, mds.files))


def _read_file(path: Path) -> Iterator[Rows]:
    """Read back what a writer wrote, in bounded blocks."""
    if not path.is_dir():
        yield from read_rows(path)
        return
    pool = Pool.open(path)
    lengths = pool.lengths()
    ends = np.cumsum(lengths)
    bounds = np.searchsorted(ends, np.arange(0, int(lengths.sum()), _IDS_AT_ONCE), side="right")
    for start, stop in pairwise([*np.unique(bounds).tolist(), len(lengths)]):
        yield pool.take(np.arange(start, stop))


class _Steps:
    """The number of tokens and the digest of each step, of rows that come in blocks."""

    def __init__(self, batch_size: int) -> None:
        self.tokens: list[int] = []
        self.digests: list[str] = []
        self._batch_size = batch_size
        self._num_rows = 0
        self._hasher = hashlib.sha256()

    def add(self, ids: Uint32Array, offsets: Int64Array) -> None:
        row, num_rows = 0, len(offsets) - 1
        while row < num_rows:
            if self._num_rows % self._batch_size == 0:
                self.tokens.append(0)
                self._hasher = hashlib.sha256()
            missing = self._batch_size - self._num_rows % self._batch_size
            stop = min(row + missing, num_rows)
            self._hasher.update(with_lengths(ids, offsets[row : stop + 1]).data)
            self.tokens[-1] += int(offsets[stop] - offsets[row])
            self._num_rows += stop - row
            row = stop
            if self._num_rows % self._batch_size == 0:
                self.digests.append(self._hasher.hexdigest())


def with_lengths(ids: Uint32Array, offsets: Int64Array) -> Uint32Array:
    """Return what a step's digest is of: of each row its length, then its ids, little-endian."""
    out = np.empty(int(offsets[-1] - offsets[0]) + len(offsets) - 1, np.uint32)
    _put_lengths(ids, offsets, out)
    return out.astype("<u4", copy=False)


@compiled_late
def _put_lengths(ids: Uint32Array, offsets: Int64Array, out: Uint32Array) -> None:
    position = 0
    for row in range(offsets.size - 1):
        out[position] = offsets[row + 1] - offsets[row]
        position += 1
        for i in range(offsets[row], offsets[row + 1]):
            out[position] = ids[i]
            position += 1


def describe_span(span: LedgerSpan) -> SpanRecord:
    parts = {"head": span.head.tobytes(), "nodes": bytes(span.nodes), "tail": span.tail.tobytes()}
    return SpanRecord(
        start_row=span.start_row,
        num_rows=span.num_rows,
        multiset=f"{span.multiset:064x}",
        **{name: base64.b64encode(digests).decode() for name, digests in parts.items()},
    )


def read_span(record: OrderFileRecord) -> LedgerSpan:
    span = record.span
    assert span is not None
    head, tail = (
        np.frombuffer(base64.b64decode(text), np.uint8).reshape(-1, 32)
        for text in (span.head, span.tail)
    )
    return LedgerSpan(
        start_row=span.start_row,
        num_rows=span.num_rows,
        multiset=int(span.multiset, 16),
        head=head,
        nodes=bytearray(base64.b64decode(span.nodes)),
        tail=tail,
    )
