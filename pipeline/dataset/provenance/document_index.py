"""The index of documents: the provenance of all rows, sorted by document.

The first of two passes sorts the rows of a few files by hash and cuts them into equal ranges of
hashes; the second joins one range of all of these into one file. Bytes depend on the rows alone.

The hash is 64-bit FNV-1a, mixed so that equal ranges hold about as many documents whatever their
ids.

Source: FNV-1a as in draft-eastlake-fnv, section 2; the mixing is the last step of the x64 form of
MurmurHash3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.core.arrays import Int64Array, Uint8Array
from pipeline.core.compiled import compiled_late
from pipeline.core.files import publish
from pipeline.dataset.arrow_columns import (
    Int32Array,
    names,
    numbers,
    sorted_names,
    utf8_of,
    values_of,
)
from pipeline.dataset.provenance.writer import ROW_SCHEMA

DOCUMENTS = "documents"
"""The folder of the index, in that of the provenance."""
DOCUMENT_SCHEMA = pa.schema([("hash", pa.int64()), *ROW_SCHEMA])
HASH_BITS = 63
"""The upper 63 of 64 bits: not every reader of parquet knows unsigned integers."""
_MASK = (1 << 64) - 1
ROWS_PER_GROUP = 16384
# A row weighs about 100 bytes and is held up to three times: a task takes about 500 MiB.
_ROWS_PER_PART = 1 << 20
_ROWS_AT_ONCE = 1 << 20
_ROWS_COMPARED_AT_ONCE = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class SortTask:
    """A task of the first pass: its file has a batch for each range of hashes."""

    inputs: tuple[Path, ...]
    """Files to read, in order of rows."""
    num_parts: int
    path: Path
    scratch: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexTask(SortTask):
    """A task of the second pass: it reads all files of the first."""

    part: int
    """The range of hashes of its file, from 0."""


def document_hash(document: str) -> int:
    """Return the hash of one id, 63 bits. Pure."""
    value = 0xCBF29CE484222325
    for byte in document.encode():
        value = (value ^ byte) * 0x100000001B3 & _MASK
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & _MASK
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & _MASK
    return (value ^ value >> 33) >> 1


@compiled_late
def document_hashes(data: Uint8Array, offsets: Int64Array) -> Int64Array:
    """Return the hash of each id: int64 [num_ids].

    Id i is the UTF-8 `data[offsets[i]:offsets[i + 1]]`; the offsets must lie in `data`.
    """
    hashes = np.empty(offsets.size - 1, np.int64)
    shift = np.uint64(33)
    for i in range(hashes.size):
        value = np.uint64(0xCBF29CE484222325)
        for position in range(offsets[i], offsets[i + 1]):
            value = (value ^ np.uint64(data[position])) * np.uint64(0x100000001B3)
        value = (value ^ (value >> shift)) * np.uint64(0xFF51AFD7ED558CCD)
        value = (value ^ (value >> shift)) * np.uint64(0xC4CEB9FE1A85EC53)
        hashes[i] = np.int64((value ^ (value >> shift)) >> np.uint64(1))
    return hashes


def count_parts(num_rows: int) -> int:
    return max(1, -(-num_rows // _ROWS_PER_PART))


def documents_file(part: int, num_parts: int) -> str:
    """Return the path of a file of the index in the folder of the provenance."""
    return f"{DOCUMENTS}/documents_{part:06d}_of_{num_parts:06d}.parquet"


def part_of(digest: int, num_parts: int) -> int:
    return digest * num_parts >> HASH_BITS


def sort_tasks(
    row_files: Sequence[Path], num_rows: Sequence[int], folder: Path, scratch: Path
) -> list[SortTask]:
    """Return the tasks of the first pass, which write to `folder`, of up to 2^20 rows each.

    row_files: all files of an order's provenance, in order of rows; num_rows: of each.
    """
    groups: list[list[Path]] = []
    filled = 0
    for path, rows in zip(row_files, num_rows, strict=True):
        if not groups or filled + rows > _ROWS_AT_ONCE:
            groups.append([])
            filled = 0
        groups[-1].append(path)
        filled += rows
    return [
        SortTask(
            inputs=tuple(group),
            num_parts=count_parts(sum(num_rows)),
            path=folder / f"{number:06d}.arrow",
            scratch=scratch,
        )
        for number, group in enumerate(groups)
    ]


def index_tasks(
    sorted_files: Sequence[Path], num_rows: int, folder: Path, scratch: Path
) -> list[IndexTask]:
    """Return the tasks of the second pass, which write to `folder`; num_rows: of the order."""
    num_parts = count_parts(num_rows)
    return [
        IndexTask(
            inputs=tuple(sorted_files),
            part=part,
            num_parts=num_parts,
            path=folder / documents_file(part, num_parts),
            scratch=scratch,
        )
        for part in range(num_parts)
    ]


def sort_rows(task: SortTask) -> None:
    """Write the rows of some files, sorted by hash; rows of one hash keep their order."""
    table = pa.concat_tables([pq.ParquetFile(path).read() for path in task.inputs])
    table = table.unify_dictionaries().combine_chunks()
    by_chunk = [document_hashes(*utf8_of(chunk)) for chunk in table["document"].chunks]
    hashes = np.concatenate([np.empty(0, np.int64), *by_chunk])
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    bounds = [_first(ordered, part, task.num_parts) for part in range(task.num_parts + 1)]
    table = table.add_column(0, DOCUMENT_SCHEMA.field("hash"), numbers(hashes))
    table = table.take(numbers(order))
    with (
        publish(task.path, task.scratch) as temporary,
        pa.ipc.new_file(str(temporary), table.schema) as writer,
    ):
        for start, stop in pairwise(bounds):
            columns = [column.combine_chunks() for column in table.slice(start, stop - start)]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=table.schema))


def write_index(task: IndexTask) -> None:
    """Write one file of the index, sorted by hash, source, document and row."""
    parts = (_read_part(path, task) for path in task.inputs)
    table = pa.concat_tables([DOCUMENT_SCHEMA.empty_table(), *parts])
    table = table.unify_dictionaries().combine_chunks()
    sources, source_places = sorted_names(table["source"].combine_chunks())
    files, file_places = sorted_names(table["file"].combine_chunks())
    order = _order(table, source_places)
    with (
        publish(task.path, task.scratch) as temporary,
        pq.ParquetWriter(
            temporary,
            DOCUMENT_SCHEMA,
            compression="zstd",
            compression_level=1,
            use_dictionary=["source", "file", "chunk", "num_chunks", "num_tokens"],
            write_statistics=["hash"],
        ) as writer,
    ):
        for start in range(0, len(order), ROWS_PER_GROUP):
            rows = order[start : start + ROWS_PER_GROUP]
            columns = dict(zip(table.column_names, table.take(numbers(rows)).columns, strict=True))
            columns["source"] = names(source_places[rows], sources)
            columns["file"] = names(file_places[rows], files)
            writer.write_table(pa.Table.from_arrays([*columns.values()], schema=DOCUMENT_SCHEMA))


def _read_part(path: Path, task: IndexTask) -> pa.Table:
    # Read, not mapped: mapped pages count as memory of the process.
    with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as reader:
        assert reader.num_record_batches == task.num_parts, "both passes are of one order"
        return pa.Table.from_batches([reader.get_batch(task.part)])


def _first(hashes: Int64Array, part: int, num_parts: int) -> int:
    """Return the index of the first of sorted hashes that is in a part or beyond it."""
    least = -(-(part << HASH_BITS) // num_parts)
    # Past the last part it is 2^63, which int64 cannot hold.
    return len(hashes) if part == num_parts else int(np.searchsorted(hashes, least))


def _order(table: pa.Table, source_places: Int32Array) -> Int64Array:
    """Sort rows, given in order of row, by hash, source, document and row; return their indices."""
    hashes, documents = values_of(table["hash"]), table["document"]
    order = np.lexsort((source_places, hashes))
    again = (np.diff(hashes[order]) == 0) & (np.diff(source_places[order]) == 0)
    # Documents of one source that share a hash: some billions have perhaps one such pair.
    starts = np.flatnonzero(np.concatenate([[True], ~again]))
    shared = _differing(documents, order, np.flatnonzero(again))
    for run in np.unique(np.searchsorted(starts, shared, side="right") - 1).tolist():
        stop = starts[run + 1] if run + 1 < len(starts) else len(order)
        rows = order[starts[run] : stop]
        ids = documents.take(numbers(rows)).to_pylist()
        order[starts[run] : stop] = rows[sorted(range(len(ids)), key=lambda i: ids[i].encode())]
    return order


def _differing(documents: pa.ChunkedArray, order: Int64Array, places: Int64Array) -> Int64Array:
    """Return those places in an order where the next row is of another document."""
    found = [np.empty(0, np.int64)]
    for start in range(0, len(places), _ROWS_COMPARED_AT_ONCE):
        some = places[start : start + _ROWS_COMPARED_AT_ONCE]
        one, other = (documents.take(numbers(order[place])) for place in (some, some + 1))
        found.append(some[values_of(pc.indices_nonzero(pc.not_equal(one, other)))])
    return np.concatenate(found)
