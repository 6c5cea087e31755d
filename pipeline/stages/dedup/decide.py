"""Decide: the surveys of all files -> which documents go, and why.

Enters: surveys in any order, and the declaration. Leaves: for each file, in canonical order, its
drops. Canonical order is (source, partition, row); of documents that say the same the first in it
stays. That depends on the surveys alone: not on their listing, on the memory, or on what was
read first. What is contaminated goes first, then what is the same text, then what is nearly so.

Memory: that of one bucket, as told, and 13 bytes a document in mapped files, which the kernel takes
back when it needs to. Disk: those, and 24 bytes a document at a time.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.config import DedupSpec
from pipeline.core.arrays import Int64Array, Uint8Array, Uint32Array, Uint64Array
from pipeline.core.compiled import compiled
from pipeline.stages.dedup.clusters import explained, link_equal
from pipeline.stages.dedup.dropped_rows import (
    CONTAMINATED,
    DUPLICATE_TEXT,
    NEAR_DUPLICATE,
    NOWHERE,
    DroppedRows,
)
from pipeline.stages.dedup.minhash import NO_KEY
from pipeline.stages.dedup.scan import DIGEST, NUM_SHARED, ROW, Surveyed, band_name

MEMORY_BYTES: Final = 1 << 30
_STAYS: Final = 255


def find_drops(
    files: Sequence[Surveyed],
    spec: DedupSpec | None,
    scratch: Path,
    *,
    memory_bytes: int = MEMORY_BYTES,
) -> Iterator[DroppedRows]:
    """Yield the drops of each file, in canonical order, a file without any included.

    Without `spec` only what is contaminated goes. `scratch` is where passing files lie.
    Raises: OutputError when they have no room.
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

    files: Sequence[Surveyed]
    bounds: Int64Array
    """int64 [num_files + 1]; file i has documents `bounds[i]` to `bounds[i + 1]`."""
    rows: Uint32Array
    """uint32 [num_documents], row in the file."""
    reasons: Uint8Array
    """uint8 [num_documents], why it goes, or _STAYS."""
    parents: Int64Array
    """int64 [num_documents], an earlier document that says the same, or itself."""

    @classmethod
    def create(cls, files: Sequence[Surveyed], folder: Path) -> "_Documents":
        """Map arrays of all documents, in which what is contaminated goes."""
        counts = [file.num_documents() for file in files]
        bounds = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
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
            documents.reasons[part] = np.where(block[:, 1] > 0, CONTAMINATED, _STAYS)
            documents.parents[part] = np.arange(part.start, part.stop)
        return documents

    def blocks(
        self, start: int, stop: int, columns: Sequence[str]
    ) -> Iterator[tuple[int, Uint64Array]]:
        """Yield columns of the surveys of files `start` to `stop`, after the first document's."""
        for number in range(start, stop):
            document = int(self.bounds[number])
            for block in self.files[number].blocks(columns):
                yield document, block
                document += len(block)
            assert document == self.bounds[number + 1]

    def staying(
        self, start: int, stop: int, columns: Sequence[str]
    ) -> Iterator[tuple[Uint64Array, Int64Array]]:
        """Yield keys and numbers of the documents that have no reason to go so far."""
        for document, block in self.blocks(start, stop, columns):
            stays = np.flatnonzero(self.reasons[document : document + len(block)] == _STAYS)
            yield block[stays], stays + document


def _map(path: Path, dtype: type[Any], size: int) -> NDArray[Any]:
    with explained(path.parent), path.open("xb") as file:
        # Reserved, since the loss of room under a mapping ends the process without a word.
        os.posix_fallocate(file.fileno(), 0, max(size, 1) * np.dtype(dtype).itemsize)
    return np.memmap(path, dtype, "r+", shape=(max(size, 1),))[:size].view(np.ndarray)


def _scopes(files: Sequence[Surveyed], spec: DedupSpec) -> Iterator[tuple[int, int]]:
    """Yield ranges of files whose documents are compared with each other."""
    if spec.scope == "mixture":
        yield 0, len(files)
        return
    sizes = [len(list(group)) for _, group in groupby(files, key=lambda file: file.source)]
    yield from pairwise(np.concatenate([[0], np.cumsum(sizes)]).astype(int).tolist())


def _link_scope(
    documents: _Documents, start: int, stop: int, spec: DedupSpec, folder: Path, memory_bytes: int
) -> None:
    """Find what goes among files `start` to `stop`."""
    first, last = documents.bounds[[start, stop]].tolist()
    scope = slice(first, last)
    if spec.exact:
        keys = documents.staying(start, stop, DIGEST)
        link_equal(documents.parents, keys, last - first, folder, memory_bytes)
        _settle(documents.parents, documents.reasons[scope], first, DUPLICATE_TEXT)
    if spec.minhash is not None:
        for band in range(spec.minhash.num_bands):
            keys = _with_words(documents.staying(start, stop, [band_name(band)]))
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
    """Give what has a parent a reason, and its group's first document for a parent.

    reasons: those of documents `first` onward. Parents come before their children, so each finds
    its own parent settled.
    """
    for i in range(reasons.size):
        document = first + i
        parent = parents[document]
        if reasons[i] == _STAYS and parent != document:
            reasons[i] = reason
            parents[document] = parents[parent]


def _drops(documents: _Documents, number: int) -> DroppedRows:
    start, stop = documents.bounds[[number, number + 1]].tolist()
    found = start + np.flatnonzero(documents.reasons[start:stop] != _STAYS)
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
