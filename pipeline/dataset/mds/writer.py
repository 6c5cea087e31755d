"""Write MDS: chunks, each with the id of its document -> `shard.NNNNN.mds` and `index.json`.

The files are the public writer's to the byte.

Source: mosaicml/streaming 0.8.1, `streaming/base/format/mds/{writer,encodings}.py` and
`streaming/base/util.py` (merge_index), described in `docs/spec/mds.md`.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Self

import numpy as np
import zstandard

from pipeline.config import ShardSpec
from pipeline.core.arrays import Int64Array, Uint8Array, Uint32Array
from pipeline.core.compiled import compiled_late, inlined
from pipeline.core.digest import FileDigest
from pipeline.core.errors import InputError, InternalError
from pipeline.core.hashed_file import write_hashed
from pipeline.core.ragged import Rows, byte_strings, offsets_of
from pipeline.dataset.paths import INDEX_NAME

Dtype = Literal["uint16", "uint32"]
# The default of the public writer, by which published shards were compressed.
_ZSTD_LEVEL: Final = 3
_ROWS_AT_ONCE: Final = 4096


def _config(dtype: Dtype, size_limit: int, compression: str | None) -> dict[str, Any]:
    return {
        "column_encodings": ["str", f"ndarray:{dtype}"],
        "column_names": ["id", "input_ids"],
        "column_sizes": [None, None],
        "compression": compression,
        "format": "mds",
        "hashes": [],
        "size_limit": size_limit,
        "version": 2,
    }


def index_bytes(index: dict[str, Any], *, merged: bool) -> bytes:
    """Serialise an index as the public package does: keys are sorted unless it is merged."""
    return json.dumps(index, sort_keys=not merged).encode()


def merge_indexes(indexes: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Join the indexes of subfolders: (folder name, index), in order of rows."""

    def below(name: str, file: dict[str, Any] | None) -> dict[str, Any] | None:
        return file and {**file, "basename": f"{name}/{file['basename']}"}

    shards = [
        {**shard, **{key: below(name, shard[key]) for key in ("raw_data", "zip_data")}}
        for name, index in indexes
        for shard in index["shards"]
    ]
    return {"version": 2, "shards": shards}


@dataclass(kw_only=True)
class MdsWriter:
    """Writes the rows of one folder; memory holds one shard and the rows of one call."""

    folder: Path
    """An empty folder that exists."""
    dtype: Dtype
    size_limit: int
    """Largest shard file in bytes; a larger row gets a file of its own."""
    header_compression: str | None = None
    """What the headers of shards say, none of which is compressed."""
    index_compression: str | None = None
    """`zstd` to name shards in the index that are compressed, which are not written."""
    files: dict[str, FileDigest] = field(default_factory=dict)
    """What was written so far, by name."""
    _shards: list[dict[str, Any]] = field(default_factory=list)
    _bodies: list[Uint8Array] = field(default_factory=list)
    _sizes: list[Int64Array] = field(default_factory=list)
    _shard_bytes: int = 0

    @classmethod
    def of(cls, folder: Path, shards: ShardSpec) -> Self:
        """Return the writer of a folder of chunks, as a mixture declares them."""
        return cls(
            folder=folder,
            dtype=shards.dtype,
            size_limit=shards.size_limit,
            header_compression=shards.header_compression,
            index_compression=shards.index_compression,
        )

    def __post_init__(self) -> None:
        config = _config(self.dtype, self.size_limit, self.header_compression)
        self._config_bytes = json.dumps(config, sort_keys=True).encode()
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
        """Append rows: row i is `ids[offsets[i]:offsets[i + 1]]` of `documents[row_documents[i]]`.

        Raises: InternalError for a row without ids, InputError for an id that `dtype` cannot hold.
        """
        lengths = np.diff(offsets)
        if lengths.size == 0:
            return
        if lengths.min() == 0:
            raise InternalError(f"{self.folder.name}: got a row without ids, expected at least one")
        largest = int(ids[offsets[0] : offsets[-1]].max())
        if largest > np.iinfo(self.dtype).max:
            row = int(np.searchsorted(offsets, int(ids.argmax()), side="right")) - 1
            named = json.dumps(documents[row_documents[row]].decode(), ensure_ascii=False)
            raise InputError(
                f"shards.dtype: got token id {largest} in document {named}, expected ids that fit "
                f"{self.dtype}",
                "set shards.dtype to uint32",
            )
        names = byte_strings(documents)
        item_bytes = np.dtype(self.dtype).itemsize
        # The length itself is stored in the smallest of 1, 2 and 4 bytes.
        widths = np.where(lengths < 1 << 8, 1, np.where(lengths < 1 << 16, 2, 4))
        # Two sizes, the id, one byte of rank and width, the length, the ids.
        sizes = 8 + names.lengths()[row_documents] + 1 + widths + lengths * item_bytes
        start = 0
        while start < len(sizes):
            room = self.size_limit - self._shard_bytes
            # Each row costs its bytes and 4 bytes of offset; a file may fill the limit exactly.
            fits = np.searchsorted(np.cumsum(sizes[start:] + 4), room, side="right")
            stop = start + int(fits)
            if stop == start and not self._sizes:
                stop = start + 1
            if stop > start:
                part = slice(start, stop)
                body = np.empty(int(sizes[part].sum()), np.uint8)
                _encode_rows(
                    body,
                    names.values,
                    names.offsets,
                    row_documents[part],
                    ids,
                    offsets[start : stop + 1],
                    item_bytes,
                )
                self._bodies.append(body)
                self._sizes.append(sizes[part])
                self._shard_bytes += body.size + 4 * (stop - start)
            if stop < len(sizes):
                self._flush()
            start = stop

    def finish(self) -> dict[str, Any]:
        """Write the last shard and `index.json`; return the index."""
        self._flush()
        index = {"version": 2, "shards": self._shards}
        self._save(INDEX_NAME, [index_bytes(index, merged=False)])
        return index

    def _save(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        self.files[name] = write_hashed(self.folder / name, parts)

    def _flush(self) -> None:
        if not self._sizes:
            return
        sizes = np.concatenate(self._sizes)
        header_bytes = 4 + 4 * (len(sizes) + 1) + len(self._config_bytes)
        offsets = header_bytes + offsets_of(sizes)
        name = f"shard.{len(self._shards):05d}.mds"
        table = np.array([len(sizes), *offsets.tolist()], "<u4")
        parts: list[bytes | memoryview] = [table.data, self._config_bytes]
        parts += (body.data for body in self._bodies)
        self._save(name, parts)
        raw = {"basename": name, "bytes": int(offsets[-1]), "hashes": {}}
        packed = None
        if self.index_compression is not None:
            num_bytes = _packed_bytes(parts)
            packed = {"basename": f"{name}.zstd", "bytes": num_bytes, "hashes": {}}
        entry = {"raw_data": raw, "samples": len(sizes), "zip_data": packed}
        config = _config(self.dtype, self.size_limit, self.index_compression)
        self._shards.append({**config, **entry})
        self._bodies, self._sizes, self._shard_bytes = [], [], self._empty_bytes


@dataclass(kw_only=True)
class _ShardHasher(MdsWriter):
    """Hashes shards in place of writing them."""

    def _save(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        self.files[name] = write_hashed(Path(os.devnull), parts)

    @property
    def digests(self) -> list[str]:
        return [file.sha256 for file in self.files.values()]


def first_shard_digest(
    shards: ShardSpec, documents: Sequence[bytes], row_documents: Int64Array, rows: Rows
) -> tuple[str, bool]:
    """Return the sha256 of the first shard of rows, which is not written, and whether it is full.

    The digest is empty without rows, of which there is no shard.
    row_documents: int64 [num_rows], the document of each row. Raises: as `MdsWriter.write`.
    """
    hasher = _ShardHasher.of(Path(), shards)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        offsets = rows.offsets[start : start + _ROWS_AT_ONCE + 1]
        hasher.write(documents, row_documents[part], rows.values, offsets)
        if hasher.digests:
            return hasher.digests[0], True
    hasher._flush()
    return (hasher.digests[0] if hasher.digests else ""), False


def _packed_bytes(parts: Sequence[bytes | memoryview]) -> int:
    """Return the size that a shard has when compressed, which depends on the version of zstd."""
    size = sum(memoryview(part).nbytes for part in parts)
    packer = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj(size=size)
    return sum(len(packer.compress(part)) for part in parts) + len(packer.flush())


@inlined
def _put_little_endian(out: Uint8Array, position: int, value: int, num_bytes: int) -> int:
    for _ in range(num_bytes):
        out[position] = value & 255
        value >>= 8
        position += 1
    return position


@compiled_late
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
