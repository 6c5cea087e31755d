"""Measure output: sampled rows of all sources, mixed as an order has them -> what files take.

The files are written by what writes those of a build, in a temporary folder: how far ids and names
compress depends on them, and how long it takes on the machine.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pipeline.config import Mixture
from pipeline.core.arrays import Int64Array
from pipeline.core.digest import FileDigest
from pipeline.core.ragged import Rows, byte_strings
from pipeline.core.seeds import derive_key, random_numbers
from pipeline.dataset import row_digests
from pipeline.dataset.mds import MdsWriter, Pool
from pipeline.dataset.parquet import RowWriter, write_columns
from pipeline.dataset.provenance import (
    IndexRows,
    ProvenanceBlock,
    ProvenanceWriter,
    parts_of,
    rank_places,
    read_rows,
    write_documents,
)
from pipeline.runner.source_volume import SourceVolume

_MOST_TOKENS = 2 << 20
# Enough for a time, which depends little on what is in the rows.
_TIMED_TOKENS = 1 << 20
_STEP_ROWS = 16
_PARTS = 1000
_FEW = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class FileCost:
    """What files of a kind take."""

    file_bytes: float
    """A file with hardly anything in it."""
    item_bytes: float
    """Each token or row in it."""
    item_seconds: float
    """Of a core, for each."""

    def of(self, num_files: float, num_items: float) -> float:
        """Return the bytes of so many files with so much in them."""
        return num_files * self.file_bytes + num_items * self.item_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputCosts:
    """What the rows of a mixture take, once they are mixed."""

    rows: FileCost
    """By tokens: parquet files of rows in order, with their digests."""
    provenance: FileCost
    """By rows: the provenance beside them."""
    documents: FileCost
    """By rows: the provenance, sorted by document."""
    drawn: FileCost
    """By rows: which chunk each sampled row is."""
    shard_seconds: float
    """Of a core, for a token that is written to a shard, hashed, and read again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Blend:
    """Rows of all sources in a random order, each with its source and a file of that."""

    rows: Rows
    names: Sequence[bytes]
    places: Sequence[tuple[str, str]]
    place: Int64Array
    chunks: Int64Array
    num_chunks: Int64Array

    def take(self, chosen: Int64Array) -> "_Blend":
        return _Blend(
            rows=self.rows.take(chosen),
            names=[self.names[row] for row in chosen.tolist()],
            places=self.places,
            place=self.place[chosen],
            chunks=self.chunks[chosen],
            num_chunks=self.num_chunks[chosen],
        )

    def head(self) -> "_Blend":
        return self.take(np.arange(min(_FEW, len(self.rows))))

    def repeat(self) -> "_Blend":
        """Return the rows as often as they are enough for a time."""
        copies = max(_TIMED_TOKENS // max(len(self.rows.values), 1), 1)
        return self.take(np.tile(np.arange(len(self.rows)), copies if len(self.rows) else 1))


def measure_output(volumes: Sequence[SourceVolume], mixture: Mixture) -> OutputCosts:
    """Write rows of all sources, in proportion to what is drawn of each; return what they take."""
    blend = _blend(volumes)
    few, many = blend.head(), blend.repeat()
    with TemporaryDirectory() as name:
        folder = Path(name)
        _write_rows(folder / "warm", few)  # Loads compiled code.

        def cost(
            write: Callable[[Path, _Blend], object], items: Callable[[_Blend], int]
        ) -> FileCost:
            write(folder / "few", few)
            write(folder / "all", blend)
            start = time.process_time()
            write(folder / "many", many)
            seconds = time.process_time() - start
            small, large = (folder / "few").stat().st_size, (folder / "all").stat().st_size
            num_more = max(items(blend) - items(few), 1)
            each = max(large - small, 0) / num_more
            return FileCost(
                file_bytes=small - each * items(few),
                item_bytes=each,
                item_seconds=seconds / max(items(many), 1),
            )

        return OutputCosts(
            rows=cost(_write_rows, lambda one: len(one.rows.values)),
            provenance=cost(_write_provenance, _num_rows),
            documents=cost(_index_provenance, _num_rows),
            drawn=cost(_write_drawn, _num_rows),
            shard_seconds=_measure_shards(folder, few, many, mixture),
        )


def _num_rows(blend: _Blend) -> int:
    return len(blend.rows)


def _blend(volumes: Sequence[SourceVolume]) -> _Blend:
    total = max(sum(one.drawn_tokens for one in volumes), 1)
    part = min(1.0, _MOST_TOKENS / total)
    samples = [id(one.sample) for one in volumes]
    parts: list[_Blend] = []
    num_places = 0
    for index, one in enumerate(volumes):
        # Sources without a sample of their own share one, of which each takes other rows: copies
        # near each other compress well, which the rows of large sources do not.
        shares = samples.count(samples[index]), samples[:index].count(samples[index])
        parts.append(_rows_of(one, round(part * one.drawn_chunks), shares, num_places))
        num_places += len(parts[-1].places)
    num_rows = sum(len(one.names) for one in parts)
    order = np.argsort(random_numbers(derive_key(0, "planned order"), num_rows), kind="stable")
    return _Blend(
        rows=Rows.concat([one.rows for one in parts]),
        names=[name for one in parts for name in one.names],
        places=[place for one in parts for place in one.places],
        place=np.concatenate([one.place for one in parts]),
        chunks=np.concatenate([one.chunks for one in parts]),
        num_chunks=np.concatenate([one.num_chunks for one in parts]),
    ).take(order)


def _rows_of(
    volume: SourceVolume, number: int, shares: tuple[int, int], first_place: int
) -> _Blend:
    """Return at most so many sampled rows of a source, each of some file of it.

    shares: how many sources share the sample, and how many of them come before.
    """
    sample, key = volume.sample, derive_key(0, "planned rows", volume.name)
    num_sharing, place = shares
    order = np.argsort(random_numbers(key, len(sample.names)), kind="stable")[place::num_sharing]
    # Where the sample is all there is, rows are repeated as in the order itself.
    copies = -(-number // max(len(order), 1)) if sample.is_whole else 1
    chosen = np.tile(order, copies)[:number]
    documents = np.concatenate([*sample.documents, np.empty(0, np.int64)])
    first = np.searchsorted(documents, documents, side="left")
    stop = np.searchsorted(documents, documents, side="right")
    files = [file.declared for file in volume.planned.files or ()] or [volume.name]
    # Chunks of one document are of one file.
    of_document = random_numbers(key, int(documents.max(initial=-1)) + 1) % np.uint64(len(files))
    return _Blend(
        rows=sample.rows.take(chosen),
        names=[sample.names[row] for row in chosen.tolist()],
        places=[(volume.name, file) for file in files],
        place=first_place + of_document[documents[chosen]].astype(np.int64),
        chunks=(np.arange(len(documents)) - first)[chosen],
        num_chunks=(stop - first)[chosen],
    )


def _write_rows(path: Path, blend: _Blend) -> None:
    rows = blend.rows
    with RowWriter(path) as writer:
        writer.write(rows.values, rows.offsets, np.arange(len(rows)) // _STEP_ROWS)
    row_digests(rows.values, rows.offsets)
    hashlib.sha256(rows.values.data)  # Of steps.
    FileDigest.of(path)


def _write_provenance(path: Path, blend: _Blend) -> None:
    names = byte_strings(blend.names)
    with ProvenanceWriter(path, 0, blend.places) as writer:
        writer.write(
            ProvenanceBlock(
                steps=np.arange(len(blend.rows)) // _STEP_ROWS + 1,
                places=blend.place.astype(np.int32),
                documents=names.values,
                offsets=names.offsets,
                chunks=blend.chunks.astype(np.uint32),
                num_chunks=blend.num_chunks.astype(np.uint32),
                num_tokens=blend.rows.lengths().astype(np.uint32),
            )
        )


def _index_provenance(path: Path, blend: _Blend) -> None:
    beside = path.with_suffix(".rows")
    _write_provenance(beside, blend)
    ranks = rank_places(blend.places)
    rows = IndexRows.concat([*read_rows(beside, 0, len(blend.rows), ranks)])
    # As the rows of a run are divided.
    parts = parts_of(rows.records["hash"], _PARTS).astype(np.uint16)
    write_documents(path, rows.take(np.argsort(parts, kind="stable")), ranks)


def _write_drawn(path: Path, blend: _Blend) -> None:
    # In the order of the file, where chunks of one document are next to each other.
    order = np.lexsort((blend.chunks, blend.place))
    columns = {"chunk": blend.chunks, "num_chunks": blend.num_chunks}
    write_columns(path, {name: one[order].astype(np.uint32) for name, one in columns.items()})


def _measure_shards(folder: Path, few: _Blend, many: _Blend, mixture: Mixture) -> float:
    """Return the seconds of a token that is written, hashed and gathered in another order."""
    _write_shards(folder / "few-shards", few, mixture)  # Loads compiled code.
    start = time.process_time()
    _write_shards(folder / "shards", many, mixture)
    return (time.process_time() - start) / max(len(many.rows.values), 1)


def _write_shards(out: Path, blend: _Blend, mixture: Mixture) -> None:
    out.mkdir()
    writer = MdsWriter.of(out, mixture.shards)
    writer.write(blend.names, np.arange(len(blend.names)), blend.rows.values, blend.rows.offsets)
    writer.finish()
    for path in out.iterdir():
        FileDigest.of(path)
    if not len(blend.rows):
        return
    pool = Pool.open(out)
    rows = np.argsort(random_numbers(derive_key(0, "gathered"), len(blend.rows)), kind="stable")
    pool.take_named(rows)
