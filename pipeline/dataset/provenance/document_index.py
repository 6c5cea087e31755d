"""The index of documents: the provenance of all rows, sorted by document.

Rows are read in their order (`read_rows`), divided by ranges of hashes (`parts_of`), and those of
one range are sorted and written as one file (`write_documents`). Bytes depend on the rows alone.

The hash is 64-bit FNV-1a, mixed so that equal ranges hold about as many documents whatever their
ids.

Source: FNV-1a as in draft-eastlake-fnv, section 2; the mixing is the last step of the x64 form of
MurmurHash3.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.core.arrays import BoolArray, Int64Array, Uint8Array
from pipeline.core.compiled import compiled_late
from pipeline.core.digest import FileDigest
from pipeline.core.hashed_file import HashedFile
from pipeline.core.mirrored import here
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
"""A row of the index but for the id of its document, of which it has the length; source and file
are ranks among all. With an id of about 50 bytes a row takes 100."""

PlaceRanks = Mapping[str, Mapping[str, int]]
"""For the columns `source` and `file` the rank of each name, in order of ranks."""


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
        # Seven times as fast as to index records.
        return type(self)(self.records.take(rows), self.ids.take(rows))

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


def rank_places(places: Sequence[tuple[str, str]]) -> PlaceRanks:
    """Rank the distinct sources and files of some (source, file) by their UTF-8."""
    return {
        column: {name: rank for rank, name in enumerate(sorted({*names_}, key=str.encode))}
        for column, names_ in (
            ("source", (source for source, _ in places)),
            ("file", (file for _, file in places)),
        )
    }


def read_rows(path: Path, start: int, stop: int, ranks: PlaceRanks) -> Iterator[IndexRows]:
    """Yield some rows of a file of provenance, counted from its first; a row group at a time.

    Raises: OSError, ArrowException, KeyError or ValueError for a damaged file.
    """
    if start == stop:
        return
    with pq.ParquetFile(here(path)) as file:
        size = file.metadata.row_group(0).num_rows
        for group in range(start // size, -(-stop // size)):
            first = group * size
            table = file.read_row_group(group, use_threads=False)
            yield _read_group(table[max(start - first, 0) : stop - first], ranks)


def _read_group(table: pa.Table, ranks: PlaceRanks) -> IndexRows:
    ids = texts_of(table["document"])
    records = np.empty(len(table), RECORD_DTYPE)
    for name in ("row", "step", "chunk", "num_chunks", "num_tokens"):
        records[name] = values_of(table[name])
    for name, rank_by_name in ranks.items():
        records[name] = ranks_of(table[name], rank_by_name)
    records["hash"] = document_hashes(ids.values, ids.offsets)
    records["id_bytes"] = ids.lengths()
    return IndexRows(records, ids)


def write_documents(path: Path, rows: IndexRows, ranks: PlaceRanks) -> FileDigest:
    """Write a file of the index, sorted by hash, source, document and row; return its digest.

    rows: all of one range of hashes, by row.
    """
    rows = _sort(rows)
    name_lists = {column: name_list([*rank_by_name]) for column, rank_by_name in ranks.items()}
    with (
        HashedFile(path) as file,
        pq.ParquetWriter(
            file,
            DOCUMENT_SCHEMA,
            compression="zstd",
            compression_level=1,
            use_dictionary=["source", "file", "chunk", "num_chunks", "num_tokens"],
            write_statistics=["hash"],
        ) as writer,
    ):
        for start in range(0, len(rows.records), ROWS_PER_GROUP):
            records = rows.records[start : start + ROWS_PER_GROUP]
            ids = rows.ids.slice(start, start + ROWS_PER_GROUP)
            columns = {name: numbers(records[name]) for name in RECORD_DTYPE.names or ()}
            columns["document"] = texts(ids.values, ids.offsets)
            for column, known in name_lists.items():
                columns[column] = names(records[column], known)
            writer.write_table(
                pa.Table.from_arrays(
                    [columns[name] for name in DOCUMENT_SCHEMA.names], schema=DOCUMENT_SCHEMA
                )
            )
    return file.digest


def _sort(rows: IndexRows) -> IndexRows:
    """Sort rows, given by row, by hash, source, document and row."""
    rows = rows.take(np.lexsort((rows.records["source"], rows.records["hash"])))
    hashes, sources = rows.records["hash"], rows.records["source"]
    again = (hashes[1:] == hashes[:-1]) & (sources[1:] == sources[:-1])
    # Documents of one source that share a hash: some billions have perhaps one such pair.
    shared = np.flatnonzero(again & _differ_from_next(rows.ids.values, rows.ids.offsets))
    if not len(shared):
        return rows
    order = np.arange(len(rows.records))
    bounds = [*np.flatnonzero(np.concatenate([[True], ~again])).tolist(), len(order)]
    for run in np.unique(np.searchsorted(bounds, shared, side="right") - 1).tolist():
        part = slice(bounds[run], bounds[run + 1])
        order[part] = sorted(order[part].tolist(), key=lambda row: rows.ids[row].tobytes())
    return rows.take(order)


@compiled_late
def _differ_from_next(values: Uint8Array, offsets: Int64Array) -> BoolArray:
    """Return of each text but the last whether the next is another: bool [num_texts - 1]."""
    differ = np.empty(max(offsets.size - 2, 0), np.bool_)
    for i in range(differ.size):
        one = values[offsets[i] : offsets[i + 1]]
        other = values[offsets[i + 1] : offsets[i + 2]]
        differ[i] = one.size != other.size
        for place in range(one.size):
            if differ[i]:
                break
            differ[i] = one[place] != other[place]
    return differ
