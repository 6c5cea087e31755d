"""MDS shards: rows of an id and token ids <-> the files that trainers of this suite read.

Enters: chunks in order. Leaves: `shard.NNNNN.mds` and `index.json`, to the byte as the public
writer makes them. No Python work per token: rows are laid out by compiled loops over flat arrays.

Source: mosaicml/streaming 0.8.1, `streaming/base/format/mds/{writer,encodings}.py` and
`streaming/base/util.py` (merge_index), described in `docs/mds.md`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numba import njit

from pipeline.errors import DefectError, InputError
from pipeline.records import Int64Array, Uint8Array, Uint32Array

INDEX_NAME = "index.json"
Dtype = Literal["uint16", "uint32"]


def _config(dtype: Dtype, size_limit: int) -> dict[str, Any]:
    return {
        "column_encodings": ["str", f"ndarray:{dtype}"],
        "column_names": ["id", "input_ids"],
        "column_sizes": [None, None],
        "compression": None,
        "format": "mds",
        "hashes": [],
        "size_limit": size_limit,
        "version": 2,
    }


def index_bytes(index: dict[str, Any], *, merged: bool) -> bytes:
    """Serialise an index as the public package does: one folder's sorted, a merged one as built."""
    return json.dumps(index, sort_keys=not merged).encode()


def merge_indexes(indexes: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Join indexes of sub-folders, given as (folder name, index) in the order of the rows."""
    shards = []
    for name, index in indexes:
        for shard in index["shards"]:
            raw = shard["raw_data"]
            shards.append({**shard, "raw_data": {**raw, "basename": f"{name}/{raw['basename']}"}})
    return {"version": 2, "shards": shards}


@dataclass(kw_only=True)
class MdsWriter:
    """Writes the rows of one folder; memory is bounded by one shard and one call's rows."""

    folder: Path
    """An empty folder that exists."""
    dtype: Dtype
    """Stored width of an id."""
    size_limit: int
    """Largest shard file in bytes; a single row that is larger gets a file of its own."""
    _shards: list[dict[str, Any]] = field(default_factory=list)
    _bodies: list[Uint8Array] = field(default_factory=list)
    _sizes: list[Int64Array] = field(default_factory=list)
    _shard_bytes: int = 0

    def __post_init__(self) -> None:
        self._config_bytes = json.dumps(
            _config(self.dtype, self.size_limit), sort_keys=True
        ).encode()
        self._shard_bytes = self._empty_bytes

    @property
    def _empty_bytes(self) -> int:
        # Row count and first offset, 4 bytes each, then the configuration.
        return 8 + len(self._config_bytes)

    def write(
        self,
        documents: Sequence[bytes],
        row_documents: Int64Array,
        ids: Uint32Array,
        offsets: Int64Array,
    ) -> None:
        """Append rows: row i is of `documents[row_documents[i]]` and holds its part of `ids`.

        Its part is `ids[offsets[i]:offsets[i + 1]]`.

        Raises: DefectError for a row without ids, InputError for an id that `dtype` cannot hold.
        """
        lengths = np.diff(offsets)
        if lengths.size == 0:
            return
        if lengths.min() == 0:
            raise DefectError(f"{self.folder.name}: got a row without ids, expected at least one")
        largest = int(ids[offsets[0] : offsets[-1]].max())
        if largest > np.iinfo(self.dtype).max:
            row = int(np.searchsorted(offsets, int(ids.argmax()), side="right")) - 1
            named = json.dumps(documents[row_documents[row]].decode(), ensure_ascii=False)
            raise InputError(
                f"shards.dtype: got token id {largest} in document {named}, expected ids that fit "
                f"{self.dtype}",
                "set shards.dtype to uint32",
            )
        id_offsets = np.zeros(len(documents) + 1, np.int64)
        np.cumsum([len(document) for document in documents], out=id_offsets[1:])
        id_bytes = np.frombuffer(b"".join(documents), np.uint8)
        id_lengths = np.diff(id_offsets)[row_documents]
        item_bytes = np.dtype(self.dtype).itemsize
        # Two sizes, the id, one byte of rank and width, the length, the ids.
        sizes = 8 + id_lengths + 1 + _width(lengths) + lengths * item_bytes
        start = 0
        while start < len(sizes):
            stop = start + _rows_that_fit(sizes[start:], self.size_limit - self._shard_bytes)
            if stop == start and not self._sizes:
                stop = start + 1
            if stop > start:
                part = slice(start, stop)
                body = np.empty(int(sizes[part].sum()), np.uint8)
                _encode_rows(
                    body, id_bytes, id_offsets, row_documents[part], ids, offsets[start : stop + 1],
                    item_bytes,
                )  # fmt: skip
                self._bodies.append(body)
                self._sizes.append(sizes[part])
                self._shard_bytes += body.size + 4 * (stop - start)
            if stop < len(sizes):
                self._flush()
            start = stop

    def finish(self) -> dict[str, Any]:
        """Write what is left and `index.json`; return the index."""
        self._flush()
        index = {"version": 2, "shards": self._shards}
        (self.folder / INDEX_NAME).write_bytes(index_bytes(index, merged=False))
        return index

    def _flush(self) -> None:
        if not self._sizes:
            return
        sizes = np.concatenate(self._sizes)
        header_bytes = 4 + 4 * (len(sizes) + 1) + len(self._config_bytes)
        offsets = np.empty(len(sizes) + 1, np.int64)
        offsets[0] = header_bytes
        np.cumsum(sizes, out=offsets[1:])
        offsets[1:] += header_bytes
        name = f"shard.{len(self._shards):05d}.mds"
        with (self.folder / name).open("wb") as file:
            file.write(np.uint32(len(sizes)).tobytes())
            file.write(offsets.astype("<u4").tobytes())
            file.write(self._config_bytes)
            for body in self._bodies:
                file.write(body.data)
        raw = {"basename": name, "bytes": int(offsets[-1]), "hashes": {}}
        self._shards.append(
            {
                **_config(self.dtype, self.size_limit),
                "raw_data": raw,
                "samples": len(sizes),
                "zip_data": None,
            }
        )
        self._bodies, self._sizes, self._shard_bytes = [], [], self._empty_bytes


def _rows_that_fit(sizes: Int64Array, room: int) -> int:
    # Each row costs its bytes and 4 bytes of offset; a file may fill the limit exactly.
    return int(np.searchsorted(np.cumsum(sizes + 4), room, side="right"))


def _width(lengths: Int64Array) -> Int64Array:
    # The length itself is stored in the smallest of 1, 2 and 4 bytes.
    return np.where(lengths < 1 << 8, 1, np.where(lengths < 1 << 16, 2, 4)).astype(np.int64)


@njit(cache=True, nogil=True)
def _put_little_endian(out: Uint8Array, position: int, value: int, num_bytes: int) -> int:
    for _ in range(num_bytes):
        out[position] = value & 255
        value >>= 8
        position += 1
    return position


@njit(cache=True, nogil=True)
def _encode_rows(
    out: Uint8Array,
    id_bytes: Uint8Array,
    id_offsets: Int64Array,
    row_documents: Int64Array,
    ids: Uint32Array,
    offsets: Int64Array,
    item_bytes: int,
) -> None:
    position = 0
    for row in range(row_documents.size):
        id_start, id_stop = id_offsets[row_documents[row]], id_offsets[row_documents[row] + 1]
        start, stop = offsets[row], offsets[row + 1]
        length = stop - start
        code = 0 if length < 256 else (1 if length < 65536 else 2)
        array_bytes = 1 + (1 << code) + length * item_bytes
        position = _put_little_endian(out, position, id_stop - id_start, 4)
        position = _put_little_endian(out, position, array_bytes, 4)
        for i in range(id_start, id_stop):
            out[position] = id_bytes[i]
            position += 1
        out[position] = 4 + code  # rank 1, four codes a rank
        position = _put_little_endian(out, position + 1, length, 1 << code)
        body = out[position : position + length * item_bytes]
        # Views, so that a whole vector is stored at once; bytes one by one took four times as long.
        if item_bytes == 2:
            narrow = body.view(np.uint16)
            for i in range(length):
                narrow[i] = ids[start + i]
        else:
            wide = body.view(np.uint32)
            for i in range(length):
                wide[i] = ids[start + i]
        position += length * item_bytes


@dataclass(frozen=True, kw_only=True)
class MdsShard:
    """A memory-mapped shard file; never written to, never removed."""

    path: Path
    """The `.mds` file, not compressed."""
    dtype: Dtype
    """Stored width of an id, from the index."""

    @cached_property
    def data(self) -> Uint8Array:
        """The whole file as uint8 [file bytes], read only."""
        if self.path.stat().st_size == 0:
            raise self._error("got an empty file, expected an MDS shard")
        # As a plain array: each slice of a memmap object costs microseconds.
        return np.asarray(np.memmap(self.path, np.uint8, mode="r"))

    @cached_property
    def row_offsets(self) -> Uint32Array:
        """Where each row starts in the file, and the end of the last: uint32 [num_rows + 1].

        Raises: InputError when the header cannot belong to a shard of this length.
        """
        num_bytes = self.data.size
        num_rows = int(self.data[:4].view("<u4")[0]) if num_bytes >= 8 else -1
        if num_rows < 0 or 4 + 4 * (num_rows + 1) > num_bytes:
            raise self._error("got a file that is no MDS shard")
        offsets: Uint32Array = self.data[4 : 4 + 4 * (num_rows + 1)].view("<u4")
        if int(offsets[-1]) != num_bytes:
            raise self._error(f"got {num_bytes} bytes, expected {int(offsets[-1])} by its header")
        return offsets

    def close(self) -> None:
        """Let go of the mapping, which is made again when it is next needed."""
        for name in ("data", "row_offsets"):
            self.__dict__.pop(name, None)

    def lengths(self) -> Int64Array:
        """Return the number of ids of each row: int64 [num_rows].

        Raises: InputError when a row cannot be read, here as in all that follows.
        """
        lengths = np.empty(len(self.row_offsets) - 1, np.int64)
        self.check(_read_lengths(self.data, self.row_offsets, self.item_bytes, lengths))
        return lengths

    def gather(self, rows: Int64Array, out: Uint32Array, starts: Int64Array) -> None:
        """Copy the ids of `rows` into `out`, row `rows[i]` from position `starts[i]`."""
        self.check(_copy_rows(self.data, self.row_offsets, rows, self.item_bytes, out, starts))

    def ids(self, row: int) -> Uint32Array:
        """Return the token ids of one row: uint32 [num_ids]."""
        position, length = locate_ids(self.data, self.row_offsets, row, self.item_bytes)
        self.check(row if length < 0 else -1)
        stored = self.data[position : position + length * self.item_bytes]
        return np.frombuffer(stored.tobytes(), f"<u{self.item_bytes}").astype(np.uint32)

    def document_ids(self, rows: Int64Array) -> list[str]:
        """Return the id of the document that each row was cut from."""
        names, stops, bad_row = _copy_names(self.data, self.row_offsets, rows, self.item_bytes)
        self.check(bad_row)
        joined, bounds = names.tobytes(), stops.tolist()
        return [joined[start:stop].decode() for start, stop in pairwise(bounds)]

    def document_id(self, row: int) -> str:
        """Return the id of the document that one row was cut from."""
        return self.document_ids(np.array([row]))[0]

    @property
    def item_bytes(self) -> int:
        """Bytes of one stored id."""
        return np.dtype(self.dtype).itemsize

    def check(self, bad_row: int) -> None:
        """Raise InputError for a row that a compiled loop could not read; -1 stands for none."""
        if bad_row >= 0:
            raise self._error(f"row {bad_row}: got bytes that are no row of {self.dtype} ids")

    def _error(self, what: str) -> InputError:
        return InputError(f"{self.path}: {what}", "build or pull it again")


@njit(cache=True, nogil=True)
def get_little_endian(data: Uint8Array, position: int, num_bytes: int) -> np.int64:
    value = np.int64(0)
    for i in range(num_bytes):
        value |= np.int64(data[position + i]) << (8 * i)
    return value


@njit(cache=True, nogil=True)
def locate_ids(
    data: Uint8Array, row_offsets: Uint32Array, row: int, item_bytes: int
) -> tuple[np.int64, np.int64]:
    """Return where a row's ids start and how many they are; (0, -1) where there is no such row.

    Compiled loops have no bounds checks of their own, so every number of the file is checked here.
    """
    nowhere = (np.int64(0), np.int64(-1))
    if row < 0 or row + 1 >= row_offsets.size:
        return nowhere
    start, stop = np.int64(row_offsets[row]), np.int64(row_offsets[row + 1])
    if start + 8 > stop or stop > data.size:
        return nowhere
    position = start + 8 + get_little_endian(data, start, 4)
    array_bytes = get_little_endian(data, start + 4, 4)
    if position + array_bytes != stop or array_bytes < 2:
        return nowhere
    code = np.int64(data[position]) - 4
    if code < 0 or code > 2 or array_bytes < 1 + (1 << code):
        return nowhere
    position += 1
    length = get_little_endian(data, position, 1 << code)
    position += 1 << code
    if position + length * item_bytes != stop:
        return nowhere
    return position, length


@njit(cache=True, nogil=True)
def _read_lengths(
    data: Uint8Array, row_offsets: Uint32Array, item_bytes: int, lengths: Int64Array
) -> int:
    for row in range(lengths.size):
        lengths[row] = locate_ids(data, row_offsets, row, item_bytes)[1]
        if lengths[row] < 0:
            return row
    return -1


@njit(cache=True, nogil=True)
def _copy_rows(
    data: Uint8Array,
    row_offsets: Uint32Array,
    rows: Int64Array,
    item_bytes: int,
    out: Uint32Array,
    starts: Int64Array,
) -> int:
    for i in range(rows.size):
        position, length = locate_ids(data, row_offsets, rows[i], item_bytes)
        start = starts[i]
        if length < 0 or start < 0 or start + length > out.size:
            return int(max(rows[i], 0))
        body = data[position : position + length * item_bytes]
        target = out[start : start + length]
        if item_bytes == 2:
            narrow = body.view(np.uint16)
            for j in range(length):
                target[j] = narrow[j]
        else:
            wide = body.view(np.uint32)
            for j in range(length):
                target[j] = wide[j]
    return -1


@njit(cache=True, nogil=True)
def _copy_names(
    data: Uint8Array, row_offsets: Uint32Array, rows: Int64Array, item_bytes: int
) -> tuple[Uint8Array, Int64Array, np.int64]:
    stops = np.zeros(rows.size + 1, np.int64)
    for i in range(rows.size):
        if locate_ids(data, row_offsets, rows[i], item_bytes)[1] < 0:
            return np.empty(0, np.uint8), stops, max(np.int64(rows[i]), np.int64(0))
        stops[i + 1] = stops[i] + get_little_endian(data, np.int64(row_offsets[rows[i]]), 4)
    names = np.empty(stops[-1], np.uint8)
    for i in range(rows.size):
        start = np.int64(row_offsets[rows[i]]) + 8
        for j in range(stops[i + 1] - stops[i]):
            names[stops[i] + j] = data[start + j]
    return names, stops, np.int64(-1)
