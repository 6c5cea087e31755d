"""A made-up order of any length: its provenance and its index, by the writers that a build uses.

Steps are of 4,608 rows, files of 100 steps, and documents, with ids of 47 bytes in 12 sources of
200 files, of three chunks. A permutation draws from three quarters as many chunks as rows, so that
a third of these come twice. The rows of a document follow from its inverse, so that
the bytes of a build are written without its sort: 10^8 rows in some minutes, about 40 bytes each.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, repeat
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import Int64Array, Uint8Array
from pipeline.core.digest import FileDigest
from pipeline.core.ragged import ByteStrings, offsets_of
from pipeline.dataset import (
    DIGEST_BYTES,
    ROWS_PER_NODE,
    BudgetRecord,
    Ledger,
    Manifest,
    MixtureRecord,
    OrderedWindow,
    OrderRecord,
    SourceRecord,
    TokenizerRecord,
    manifest_bytes,
)
from pipeline.dataset.parquet.writer import write_steps
from pipeline.dataset.partition_counts import ChunkCounts, DocumentCounts, TokenCounts
from pipeline.dataset.paths import MANIFEST, ORDER, PROVENANCE, STEPS
from pipeline.dataset.provenance import (
    RECORD_DTYPE,
    ROWS_PER_PART,
    IndexRows,
    ProvenanceBlock,
    ProvenanceWriter,
    documents_file,
    rank_places,
    write_documents,
)
from pipeline.dataset.provenance.document_index import HASH_BITS, document_hashes
from pipeline.dataset.steps import STEPS_PER_FILE
from pipeline.order.permutation import Permutation, PermutationKey, load_permutation

ROWS_PER_STEP = 4608
STEPS_PER_WINDOW = 2998
_STEPS_AT_ONCE = 5
_NUM_SOURCES, _NUM_FILES = 12, 200
_CHUNKS_PER_DOCUMENT = 3
_ID_BYTES = 47
_AT_ONCE = 1 << 20
# A process of tests has threads that a fork would lose.
_SPAWN = get_context("spawn")

PLACES = [
    (f"source-{source:02d}", f"data/source-{source:02d}/train-{file:05d}.jsonl.gz")
    for source in range(_NUM_SOURCES)
    for file in range(_NUM_FILES)
]
_HEX = np.array([list(f"{byte:02x}".encode()) for byte in range(256)], np.uint8)


@dataclass(frozen=True)
class MadeOrder:
    """An order in a folder, of which all but the rows themselves is made."""

    out: Path
    num_steps: int

    @property
    def num_rows(self) -> int:
        return self.num_steps * ROWS_PER_STEP

    @property
    def num_tokens(self) -> int:
        """Ids of all rows, about."""
        return self.num_rows * 768

    @property
    def num_documents(self) -> int:
        return self.num_rows // 4

    @cached_property
    def _permutation(self) -> Permutation:
        key = PermutationKey(algorithm="feistel-v1", num_samples=self.num_rows, seed=0, epoch=0)
        return load_permutation(key, self.out)

    def chunks_at(self, rows: Int64Array) -> Int64Array:
        """Return the chunk of each row, counted over all documents."""
        drawn = self._permutation.samples_at(rows)
        return drawn % (self.num_documents * _CHUNKS_PER_DOCUMENT)

    def rows_of(self, documents: Int64Array) -> tuple[Int64Array, Int64Array]:
        """Return the rows of some documents, by row, and the index of the document of each."""
        num_chunks = self.num_documents * _CHUNKS_PER_DOCUMENT
        first = documents[:, None] * _CHUNKS_PER_DOCUMENT + np.arange(_CHUNKS_PER_DOCUMENT)
        drawn = np.concatenate([first, first + num_chunks], axis=1)
        at, _ = np.nonzero(drawn < self.num_rows)
        rows = self._permutation.positions_of(drawn[drawn < self.num_rows])
        order = np.argsort(rows)
        return rows[order], at[order]

    def files(self) -> Iterator[tuple[str, int, int]]:
        """Yield the path of each file of provenance, from the output, and its steps, from 0."""
        for window, first in enumerate(range(0, self.num_steps, STEPS_PER_WINDOW), 1):
            last = min(first + STEPS_PER_WINDOW, self.num_steps)
            for start in range(first, last, STEPS_PER_FILE):
                stop = min(start + STEPS_PER_FILE, last)
                name = f"steps_{start - first + 1:06d}_to_{stop - first:06d}.parquet"
                yield f"{PROVENANCE}/checkpoint_{window:06d}/{name}", start, stop

    def block(self, rows: Int64Array) -> ProvenanceBlock:
        """Return where rows come from."""
        chunks = self.chunks_at(rows)
        documents = chunks // _CHUNKS_PER_DOCUMENT
        return ProvenanceBlock(
            steps=rows // ROWS_PER_STEP + 1,
            places=_places(documents),
            documents=spell(documents).reshape(-1),
            offsets=np.arange(len(rows) + 1) * _ID_BYTES,
            chunks=(chunks % _CHUNKS_PER_DOCUMENT).astype(np.uint32),
            num_chunks=np.full(len(rows), _CHUNKS_PER_DOCUMENT, np.uint32),
            num_tokens=_num_tokens(documents),
        )


def write_rows(made: MadeOrder) -> tuple[dict[str, FileDigest], float]:
    """Write the provenance of all rows; return its files, and the seconds that writers took."""
    for name, _, _ in made.files():
        (made.out / name).parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(mp_context=_SPAWN) as pool:
        written = [*pool.map(_write_rows, repeat(made), made.files())]
    return {name: file for name, file, _ in written}, sum(seconds for _, _, seconds in written)


def _write_rows(made: MadeOrder, file: tuple[str, int, int]) -> tuple[str, FileDigest, float]:
    name, start, stop = file
    bounds = np.array([*range(start, stop, _STEPS_AT_ONCE), stop]) * ROWS_PER_STEP
    blocks = [made.block(np.arange(first, last)) for first, last in pairwise(bounds.tolist())]
    started = perf_counter()
    with ProvenanceWriter(made.out / name, start * ROWS_PER_STEP, PLACES) as writer:
        for block in blocks:
            writer.write(block)
    return name, writer.file.digest, perf_counter() - started


def write_index(made: MadeOrder) -> dict[str, FileDigest]:
    """Write the index of documents as a build does, but for how rows are sorted; return it."""
    hashes = np.concatenate(
        [
            _hashes(np.arange(start, min(start + _AT_ONCE, made.num_documents)))
            for start in range(0, made.num_documents, _AT_ONCE)
        ]
    )
    num_parts = -(-made.num_rows // ROWS_PER_PART)
    order = np.argsort(hashes)
    firsts = [-(-(part << HASH_BITS) // num_parts) for part in range(num_parts)]
    bounds = [*np.searchsorted(hashes, firsts, sorter=order).tolist(), len(order)]
    parts = [order[first:last] for first, last in pairwise(bounds)]
    del hashes, order
    names = [f"{PROVENANCE}/{documents_file(part, num_parts)}" for part in range(num_parts)]
    (made.out / names[0]).parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(mp_context=_SPAWN) as pool:
        written = pool.map(_write_part, repeat(made), names, parts)
        return dict(zip(names, written, strict=True))


def _write_part(made: MadeOrder, name: str, documents: Int64Array) -> FileDigest:
    rows, at = made.rows_of(documents)
    records = np.zeros(len(rows), RECORD_DTYPE)
    ranks = rank_places(PLACES)
    rank_by_place = np.array(
        [[ranks["source"][one], ranks["file"][other]] for one, other in PLACES]
    )
    places = _places(documents)
    for column, values in (
        ("hash", _hashes(documents)),
        ("source", rank_by_place[places, 0]),
        ("file", rank_by_place[places, 1]),
        ("num_tokens", _num_tokens(documents)),
    ):
        records[column] = values[at]
    records["row"], records["step"] = rows, rows // ROWS_PER_STEP + 1
    records["chunk"] = made.chunks_at(rows) % _CHUNKS_PER_DOCUMENT
    records["num_chunks"], records["id_bytes"] = _CHUNKS_PER_DOCUMENT, _ID_BYTES
    ids = ByteStrings(spell(documents)[at].reshape(-1), offsets_of(records["id_bytes"]))
    return write_documents(made.out / name, IndexRows(records, ids), ranks)


def write_manifest(made: MadeOrder, files: dict[str, FileDigest]) -> None:
    """Write the table of steps, and a manifest that names it and these files."""
    (made.out / ORDER).mkdir()
    num_rows = np.full(made.num_steps, ROWS_PER_STEP, np.int64)
    path = made.out / STEPS
    write_steps(path, num_rows=num_rows, num_tokens=num_rows, sha256=["0" * 64] * made.num_steps)
    windows = tuple(
        OrderedWindow(
            folder=f"{ORDER}/checkpoint_{number:06d}",
            first_step=first,
            num_steps=min(STEPS_PER_WINDOW, made.num_steps - first),
            num_tokens=0,
            first_row=first * ROWS_PER_STEP,
            num_rows=min(STEPS_PER_WINDOW, made.num_steps - first) * ROWS_PER_STEP,
            multiset_root="",
        )
        for number, first in enumerate(range(0, made.num_steps, STEPS_PER_WINDOW), 1)
    )
    nodes = np.zeros((-(-made.num_rows // ROWS_PER_NODE), DIGEST_BYTES), np.uint8)
    ledger = Ledger(num_rows=made.num_rows, nodes=nodes, multiset=0)
    order = OrderRecord(
        key="", algorithm="", seed=0, epoch=0, view="stored", format="parquet",
        num_samples=made.num_rows, num_steps=made.num_steps, num_rows=made.num_rows,
        num_rows_dropped=0, num_tokens=made.num_tokens, num_tokens_dropped=0, num_tokens_cut=0,
        num_tokens_added=0, windows=windows, ledger=ledger.describe(), root_sha256="",
    )  # fmt: skip
    manifest = Manifest(
        code="",
        mixture=MixtureRecord(name="", fingerprint="", declaration={}, overrides=()),
        lock=None,
        tokenizer=TokenizerRecord(name="", sha256="", cls_id=0, sep_id=0),
        sources={source: _source(made) for source, _ in PLACES[::_NUM_FILES]},
        order=order,
        files={**files, STEPS: FileDigest.of(path)},
    )
    (made.out / MANIFEST).write_bytes(manifest_bytes(manifest))


def _source(made: MadeOrder) -> SourceRecord:
    """Return what each source holds, about, of which all that is there was drawn."""
    documents, drawn = made.num_documents // _NUM_SOURCES, made.num_tokens // _NUM_SOURCES
    written, chunks = drawn * 3 // 4, documents * _CHUNKS_PER_DOCUMENT
    return SourceRecord(
        filters={},
        documents=DocumentCounts(num_in=documents, kept=documents, dropped={}),
        tokens=TokenCounts(
            num_in=written, added=0, discarded=0, written=written, validation=0, drawn=drawn
        ),
        chunks=ChunkCounts(written=chunks, validation=0, drawn=made.num_rows // _NUM_SOURCES),
        budget=BudgetRecord(
            expected=None, asked=drawn, available=written, drawn=drawn, num_repetitions=2,
            overshoot=0, repeated=drawn - written,
        ),
        partitions=(),
    )  # fmt: skip


def spell(documents: Int64Array) -> Uint8Array:
    """Return ids as web crawls have them, `<urn:uuid:...>`: uint8 [num_documents, 47]."""
    halves = np.stack([_mixed(documents, 1), _mixed(documents, 2)], axis=1)
    digits = _HEX[halves.view(np.uint8)].reshape(len(documents), 32)
    spelled = np.empty((len(documents), _ID_BYTES), np.uint8)
    spelled[:] = np.frombuffer(b"<urn:uuid:00000000-0000-0000-0000-000000000000>", np.uint8)
    place = 0
    for start, stop in pairwise([10, 19, 24, 29, 34, 47]):
        width = stop - start - 1
        spelled[:, start : start + width] = digits[:, place : place + width]
        place += width
    return spelled


def _hashes(documents: Int64Array) -> Int64Array:
    offsets = np.arange(len(documents) + 1) * _ID_BYTES
    return document_hashes(spell(documents).reshape(-1), offsets)


def _places(documents: Int64Array) -> NDArray[np.int32]:
    return (_mixed(documents, 3) % np.uint64(len(PLACES))).astype(np.int32)


def _num_tokens(documents: Int64Array) -> NDArray[np.uint32]:
    return (512 + _mixed(documents, 4) % np.uint64(513)).astype(np.uint32)


def _mixed(numbers: Int64Array, salt: int) -> NDArray[np.uint64]:
    """Return numbers that look random and follow from those given."""
    value = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(salt)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
