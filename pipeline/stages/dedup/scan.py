"""The scan of one partition: what dedup needs to know of each document, as a parquet file.

It has row, digest of the text, number of n-grams shared with evaluations, and band keys: 28 bytes
per document, and 8 per band.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import MinHashSpec
from pipeline.core.arrays import Uint64Array
from pipeline.core.digest import FileDigest
from pipeline.core.document import Document
from pipeline.core.files import publish
from pipeline.core.hashed_file import HashedFile
from pipeline.core.mirrored import here
from pipeline.stages.dedup.decontaminate import Contamination
from pipeline.stages.dedup.minhash import band_keys
from pipeline.stages.dedup.ngrams import hash_ngrams, hash_words
from pipeline.stages.text_digest import digest_normal, normalise

ROW, NUM_SHARED = "row", "num_shared"
DIGEST: Final = ("digest_0", "digest_1")

# Rows of a row group and of a block as it is read: at most 9 MiB with 14 bands.
_ROWS_AT_ONCE: Final = 1 << 16


def band_name(band: int) -> str:
    return f"band_{band:03d}"


def scan_documents(
    documents: Sequence[Document],
    minhash: MinHashSpec | None,
    contamination: Contamination | None,
) -> pa.RecordBatch:
    """Return the scan of a block; without `contamination`, as if nothing is shared. Pure."""
    normal = [normalise(document.text) for document in documents]
    digests = digest_normal(normal)
    rows = np.fromiter((document.row for document in documents), np.uint32, len(documents))
    shared = np.zeros(len(documents), np.uint32)
    bands = np.empty((len(documents), 0), np.uint64)
    if minhash is not None or contamination is not None:
        words = hash_words(normal)
        if contamination is not None:
            shared = contamination.count_shared(words)
        if minhash is not None:
            bands = band_keys(hash_ngrams(words, minhash.ngram_words), minhash)
    columns = [rows, *digests.T, shared, *bands.T]
    return pa.record_batch(
        [pa.array(np.ascontiguousarray(column)) for column in columns],
        schema=_schema(bands.shape[1]),
    )


def save_scan(
    path: Path, scratch: Path, minhash: MinHashSpec | None, batches: Iterable[pa.RecordBatch]
) -> FileDigest:
    """Publish the scan of a partition, given its blocks in file order; return its digest.

    It is not synced.
    """
    schema = _schema(0 if minhash is None else minhash.num_bands)
    options = {"compression": "none", "use_dictionary": [NUM_SHARED], "write_statistics": False}
    with (
        publish(path, scratch, syncs=False) as temporary,
        HashedFile(temporary) as file,
        pq.ParquetWriter(file, schema, **options) as writer,
    ):
        # Regrouped, so that the file does not depend on the blocks.
        for batch in _regroup(batches, schema):
            writer.write_table(batch)
    return file.digest


@dataclass(frozen=True, kw_only=True, slots=True)
class ScannedFile:
    """One input file and its scan."""

    source: str
    file: str
    """Its name, by which the files of a source are sorted."""
    path: Path

    def num_documents(self) -> int:
        return int(pq.read_metadata(here(self.path)).num_rows)

    def blocks(self, columns: Sequence[str]) -> Iterator[Uint64Array]:
        """Yield columns of the scan in blocks: uint64 [n, num_columns]."""
        with pq.ParquetFile(here(self.path), memory_map=False, pre_buffer=False) as file:
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=list(columns)):
                block = np.empty((batch.num_rows, len(columns)), np.uint64)
                for index, name in enumerate(columns):
                    block[:, index] = batch.column(name).to_numpy()
                yield block


def _schema(num_bands: int) -> pa.Schema:
    wide = [*DIGEST, *map(band_name, range(num_bands))]
    fields = [(ROW, pa.uint32()), *((name, pa.uint64()) for name in wide)]
    fields.insert(1 + len(DIGEST), (NUM_SHARED, pa.uint32()))
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in fields])


def _regroup(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the same rows in tables of `_ROWS_AT_ONCE`; the last may have fewer."""
    waiting = pa.table(schema.empty_table().columns, schema=schema)
    for batch in batches:
        waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch])])
        while waiting.num_rows >= _ROWS_AT_ONCE:
            yield waiting.slice(0, _ROWS_AT_ONCE)
            waiting = waiting.slice(_ROWS_AT_ONCE)
    if waiting.num_rows:
        yield waiting
