"""The index of documents: the provenance of all rows, sorted by document.

Rows are read in their order (`read_rows`), divided by ranges of hashes (`parts_of`), and those of
one range are sorted and written as one file (`write_documents`). Bytes depend on the rows alone.

The hash is 64-bit FNV-1a, mixed so that equal ranges hold about as many documents whatever their
ids.

Source: FNV-1a as in draft-eastlake-fnv, section 2; the mixing is the last step of the x64 form of
MurmurHash3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.core.arrays import BoolArray, Int64Array, Uint8Array
from pipeline.core.compiled import compiled_late
from pipeline.core.ragged import ByteStrings, offsets_of
from pipeline.dataset.arrow_columns import (
    name_list,
    names,
    numbers,
    ranks_of,
    texts,
    texts_of,
    values_of,
)
from pipeline.dataset.provenance.writer import ROW_SCHEMA

DOCUMENTS = "documents"
"""The folder of the index, in that of the provenance."""
DOCUMENT_SCHEMA = pa.schema([("hash", pa.int64()), *ROW_SCHEMA])
HASH_BITS = 63
"""The upper 63 of 64 bits: not every reader of parquet knows unsigned integers."""
_MASK = (1 << 64) - 1
ROWS_PER_PART = 1 << 20
"""Rows of a file of the index, on average."""
ROWS_PER_GROUP = 16384

RECORD_DTYPE = np.dtype(
    [
        ("hash", "<i8"),
        ("row", "<i8"),
        ("step", "<i8"),
        ("source", "<i4"),
        ("file", "<i4"),
        ("chunk", "<u4"),
        ("num_chunks", "<u4"),
        ("num_tokens", "<u4"),
        ("id_bytes", "<u4"),
    ]
)
"""A row of the index; source and file are places among the names of all, and the last is the length
of the document's id. With an id of about 50 bytes, a row takes 100."""

NamesByColumn = Mapping[str, Sequence[str]]
"""All sources and all input files, as `sort_names` returns them."""


@dataclass(frozen=True, slots=True)
class IndexRows:
    """Rows of the index."""

    records: NDArray[np.void]
    """`RECORD_DTYPE` [num_rows]."""
    ids: ByteStrings
    """The ids of their documents."""

    @classmethod
    def of(cls, records: NDArray[np.void], ids: Uint8Array) -> Self:
        """Return rows from their records and the bytes of all ids."""
        return cls(records, ByteStrings(ids, offsets_of(records["id_bytes"])))

    def take(self, rows: Int64Array) -> Self:
        """Return the rows of some indices, in their order."""
        return type(self)(self.records[rows], self.ids.take(rows))

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        none = cls.of(np.empty(0, RECORD_DTYPE), np.empty(0, np.uint8))
        parts = [none, *parts]
        return cls(
            np.concatenate([part.records for part in parts]),
            ByteStrings.concat([part.ids for part in parts]),
        )


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


def documents_file(part: int, num_parts: int) -> str:
    """Return the path of a file of the index in the folder of the provenance."""
    return f"{DOCUMENTS}/documents_{part:06d}_of_{num_parts:06d}.parquet"


def part_of(digest: int, num_parts: int) -> int:
    return digest * num_parts >> HASH_BITS


def parts_of(hashes: Int64Array, num_parts: int) -> Int64Array:
    """Return `part_of` each hash: int64 [num_hashes]; num_parts: less than 2^31."""
    # The product has up to 94 bits, those of the upper and the lower half of the hash up to 63.
    upper, lower = hashes >> 32, hashes & 0xFFFFFFFF
    return upper * num_parts + (lower * num_parts >> 32) >> HASH_BITS - 32


def sort_names(places: Sequence[tuple[str, str]]) -> NamesByColumn:
    """Return the distinct sources and files of some (source, file), sorted by their UTF-8."""
    return {
        column: sorted({place[number] for place in places}, key=str.encode)
        for number, column in enumerate(("source", "file"))
    }


def read_rows(path: Path, start: int, stop: int, all_names: NamesByColumn) -> IndexRows:
    """Read some rows of a file of provenance, counted from its first.

    Raises: OSError, ArrowException, KeyError or ValueError for a damaged file.
    """
    with pq.ParquetFile(path) as file:
        size = file.metadata.row_group(0).num_rows
        groups = range(start // size, -(-stop // size))
        table = file.read_row_groups([*groups]).slice(start - groups.start * size, stop - start)
    ids = texts_of(table["document"])
    records = np.empty(len(table), RECORD_DTYPE)
    for name in ("row", "step", "chunk", "num_chunks", "num_tokens"):
        records[name] = values_of(table[name])
    for name, known in all_names.items():
        records[name] = ranks_of(table[name], known)
    records["hash"] = document_hashes(ids.values, ids.offsets)
    records["id_bytes"] = ids.lengths()
    return IndexRows(records, ids)


def write_documents(path: Path, rows: IndexRows, all_names: NamesByColumn) -> None:
    """Write a file of the index, sorted by hash, source, document and row.

    rows: those of one range of hashes, in their order in the order.
    """
    name_lists = {name: name_list(known) for name, known in all_names.items()}
    order = _sort(rows)
    with pq.ParquetWriter(
        path,
        DOCUMENT_SCHEMA,
        compression="zstd",
        compression_level=1,
        use_dictionary=["source", "file", "chunk", "num_chunks", "num_tokens"],
        write_statistics=["hash"],
    ) as writer:
        for start in range(0, len(order), ROWS_PER_GROUP):
            group = rows.take(order[start : start + ROWS_PER_GROUP])
            columns = {name: numbers(group.records[name]) for name in RECORD_DTYPE.names or ()}
            columns["document"] = texts(group.ids.values, group.ids.offsets)
            for name, known in name_lists.items():
                columns[name] = names(group.records[name], known)
            table = pa.Table.from_arrays(
                [columns[name] for name in DOCUMENT_SCHEMA.names], schema=DOCUMENT_SCHEMA
            )
            writer.write_table(table)


def _sort(rows: IndexRows) -> Int64Array:
    """Sort rows, given in order of row, by hash, source, document and row; return their indices."""
    hashes, sources = rows.records["hash"], rows.records["source"]
    order = np.lexsort((sources, hashes))
    again = (np.diff(hashes[order]) == 0) & (np.diff(sources[order]) == 0)
    # Documents of one source that share a hash: some billions have perhaps one such pair.
    starts = np.flatnonzero(np.concatenate([[True], ~again]))
    pairs = np.flatnonzero(again)
    shared = pairs[_differ(rows.ids.values, rows.ids.offsets, order[pairs], order[pairs + 1])]
    for run in np.unique(np.searchsorted(starts, shared, side="right") - 1).tolist():
        stop = starts[run + 1] if run + 1 < len(starts) else len(order)
        run_rows = order[starts[run] : stop]
        order[starts[run] : stop] = sorted(
            run_rows.tolist(), key=lambda row: rows.ids[row].tobytes()
        )
    return order


@compiled_late
def _differ(
    values: Uint8Array, offsets: Int64Array, ones: Int64Array, others: Int64Array
) -> BoolArray:
    """Return of pairs of texts whether they differ: bool [num_pairs]."""
    differ = np.empty(ones.size, np.bool_)
    for i in range(ones.size):
        one = values[offsets[ones[i]] : offsets[ones[i] + 1]]
        other = values[offsets[others[i]] : offsets[others[i] + 1]]
        differ[i] = one.size != other.size
        for place in range(one.size):
            if differ[i]:
                break
            differ[i] = one[place] != other[place]
    return differ
