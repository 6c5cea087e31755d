"""The drops of the whole corpus: which documents are dropped, why, and what they are copies of.

Contaminated documents are dropped first, then equal texts, then near duplicates. Of equal documents
the first in canonical order (source, partition, row) is kept.

Memory: one bucket, as configured, and 13 bytes per document in mapped files, which the kernel can
evict. Disk: those, and 24 bytes per document at a time.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.config import DedupSpec
from pipeline.core.arrays import Int64Array, Uint8Array, Uint32Array, Uint64Array
from pipeline.core.compiled import compiled
from pipeline.core.digest import FileDigest
from pipeline.core.files import publish
from pipeline.core.hashed_file import HashedFile
from pipeline.core.ragged import offsets_of
from pipeline.stages.dedup.clusters import explained, link_equal
from pipeline.stages.dedup.minhash import NO_KEY
from pipeline.stages.dedup.scan import DIGEST, NUM_SHARED, ROW, ScannedFile, band_name

_MEMORY_BYTES: Final = 1 << 30
_KEPT: Final = 255
REASONS: Final = ("contaminated", "duplicate_text", "near_duplicate")
"""Each dropped document counts under the first reason that applies."""
CONTAMINATED, DUPLICATE_TEXT, NEAR_DUPLICATE = range(len(REASONS))
NOWHERE: Final = -1
"""The survivor's file of a document that is not a copy."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DroppedRows:
    """The dropped rows of one file."""

    files: Sequence[ScannedFile]
    """All files, in canonical order."""
    file: int
    """The index of this file."""
    rows: Uint32Array
    """uint32 [num_drops], rising."""
    reasons: Uint8Array
    """uint8 [num_drops], indices into `REASONS`."""
    survivor_files: Int64Array
    """int64 [num_drops], the file of the document that each copies, or NOWHERE."""
    survivor_rows: Uint32Array
    """uint32 [num_drops], its row there; meaningless for NOWHERE."""


def bucket_bytes(memory_bytes: int) -> int:
    """Return what a bucket may take of the memory of a build: a quarter, at most 1 GiB. Pure."""
    return min(memory_bytes // 4, _MEMORY_BYTES)


def find_drops(
    files: Sequence[ScannedFile],
    spec: DedupSpec | None,
    scratch: Path,
    *,
    memory_bytes: int = _MEMORY_BYTES,
) -> Iterator[DroppedRows]:
    """Yield the dropped rows of every file in canonical order.

    Without `spec` only contaminated documents are dropped. `scratch` is for temporary files.
    Raises: OutputError when the disk has no room for them.
    """
    files = sorted(files, key=lambda file: (file.source, file.file))
    assert len({(file.source, file.file) for file in files}) == len(files)
    scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=scratch) as folder:
        documents = _Documents.create(files, Path(folder))
        if spec is not None:
            for start, stop in _scopes(files, spec):
                _link_scope(documents, start, stop, spec, Path(folder), memory_bytes)
        for number in range(len(files)):
            yield _drops(documents, number)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Documents:
    """All documents, numbered in canonical order."""

    files: Sequence[ScannedFile]
    bounds: Int64Array
    """int64 [num_files + 1]; file i holds documents `bounds[i]` to `bounds[i + 1]`."""
    rows: Uint32Array
    """uint32 [num_documents], row in the file."""
    reasons: Uint8Array
    """uint8 [num_documents], the reason for each drop, or _KEPT."""
    parents: Int64Array
    """int64 [num_documents], an earlier duplicate, or the document itself."""

    @classmethod
    def create(cls, files: Sequence[ScannedFile], folder: Path) -> "_Documents":
        """Map arrays of all documents, with the contaminated ones dropped."""
        bounds = offsets_of([file.num_documents() for file in files])
        size = int(bounds[-1])
        documents = cls(
            files=files,
            bounds=bounds,
            rows=_map(folder / "rows", np.uint32, size),
            reasons=_map(folder / "reasons", np.uint8, size),
            parents=_map(folder / "parents", np.int64, size),
        )
        for start, block in documents.blocks(0, len(files), [ROW, NUM_SHARED]):
            part = slice(start, start + len(block))
            documents.rows[part] = block[:, 0]
            documents.reasons[part] = np.where(block[:, 1] > 0, CONTAMINATED, _KEPT)
            documents.parents[part] = np.arange(part.start, part.stop)
        return documents

    def blocks(
        self, start: int, stop: int, columns: Sequence[str]
    ) -> Iterator[tuple[int, Uint64Array]]:
        """Yield blocks of columns of files `start` to `stop`, after their first document."""
        for number in range(start, stop):
            document = int(self.bounds[number])
            for block in self.files[number].blocks(columns):
                yield document, block
                document += len(block)
            assert document == self.bounds[number + 1]

    def kept(
        self, start: int, stop: int, columns: Sequence[str]
    ) -> Iterator[tuple[Uint64Array, Int64Array]]:
        """Yield keys and numbers of the documents kept so far."""
        for document, block in self.blocks(start, stop, columns):
            kept = np.flatnonzero(self.reasons[document : document + len(block)] == _KEPT)
            yield block[kept], kept + document


def _map(path: Path, dtype: type[Any], size: int) -> NDArray[Any]:
    with explained(path.parent), path.open("xb") as file:
        # Reserved: a full disk under a mapping kills the process without a message.
        os.posix_fallocate(file.fileno(), 0, max(size, 1) * np.dtype(dtype).itemsize)
    return np.memmap(path, dtype, "r+", shape=(max(size, 1),))[:size].view(np.ndarray)


def _scopes(files: Sequence[ScannedFile], spec: DedupSpec) -> Iterator[tuple[int, int]]:
    """Yield ranges of files whose documents are compared."""
    if spec.scope == "mixture":
        yield 0, len(files)
        return
    sizes = [len(list(group)) for _, group in groupby(files, key=lambda file: file.source)]
    yield from pairwise(offsets_of(sizes).tolist())


def _link_scope(
    documents: _Documents, start: int, stop: int, spec: DedupSpec, folder: Path, memory_bytes: int
) -> None:
    """Drop the duplicates among files `start` to `stop`."""
    first, last = documents.bounds[[start, stop]].tolist()
    scope = slice(first, last)
    if spec.exact:
        keys = documents.kept(start, stop, DIGEST)
        link_equal(documents.parents, keys, last - first, folder, memory_bytes)
        _settle(documents.parents, documents.reasons[scope], first, DUPLICATE_TEXT)
    if spec.minhash is not None:
        for band in range(spec.minhash.num_bands):
            keys = _with_words(documents.kept(start, stop, [band_name(band)]))
            link_equal(documents.parents, keys, last - first, folder, memory_bytes)
        _settle(documents.parents, documents.reasons[scope], first, NEAR_DUPLICATE)


def _with_words(
    blocks: Iterator[tuple[Uint64Array, Int64Array]],
) -> Iterator[tuple[Uint64Array, Int64Array]]:
    for keys, numbers in blocks:
        has_words = keys[:, 0] != NO_KEY
        yield keys[has_words], numbers[has_words]


@compiled
def _settle(parents: Int64Array, reasons: Uint8Array, first: int, reason: int) -> None:
    """Give documents with a parent this reason, and the root of their group as parent.

    reasons: of documents from `first` on. Parents precede their children, so they are settled.
    """
    for i in range(reasons.size):
        document = first + i
        parent = parents[document]
        if reasons[i] == _KEPT and parent != document:
            reasons[i] = reason
            parents[document] = parents[parent]


def _drops(documents: _Documents, number: int) -> DroppedRows:
    start, stop = documents.bounds[[number, number + 1]].tolist()
    found = start + np.flatnonzero(documents.reasons[start:stop] != _KEPT)
    reasons = documents.reasons[found]
    survivors = documents.parents[found]
    survivor_files = np.searchsorted(documents.bounds, survivors, side="right") - 1
    survivor_files[reasons == CONTAMINATED] = NOWHERE
    return DroppedRows(
        files=documents.files,
        file=number,
        rows=documents.rows[found],
        reasons=reasons,
        survivor_files=survivor_files,
        survivor_rows=documents.rows[survivors],
    )


def save_drops(path: Path, scratch: Path, drops: DroppedRows) -> FileDigest:
    """Publish the dropped rows of one file: row, reason, of_source, of_file, of_row.

    Return its digest. It is not synced.
    """
    is_copy = drops.survivor_files != NOWHERE
    # Only the files that survivors are in, of very many.
    numbers, places = np.unique(drops.survivor_files, return_inverse=True)
    survivors = [drops.files[number] for number in numbers.tolist()]
    files = pa.array(places, mask=~is_copy)
    table = pa.table(
        {
            "row": drops.rows,
            "reason": pa.array(REASONS).take(pa.array(drops.reasons)),
            "of_source": pa.array([file.source for file in survivors], pa.string()).take(files),
            "of_file": pa.array([file.file for file in survivors], pa.string()).take(files),
            "of_row": pa.array(drops.survivor_rows, mask=~is_copy),
        }
    )
    with publish(path, scratch, syncs=False) as temporary, HashedFile(temporary) as file:
        pq.write_table(table, file, compression="zstd", compression_level=3)
    return file.digest
