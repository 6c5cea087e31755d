"""Counts: tables of provenance -> how much of each source is in them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.core.arrays import Int64Array
from pipeline.dataset.provenance.arrow_columns import utf8_of, values_of
from pipeline.dataset.provenance.document_hash import document_hashes


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceCounts:
    """How much of one source is in some rows."""

    num_rows: int
    """Rows of it."""
    num_documents: int
    """Different documents, told apart by their hashes."""
    num_tokens: int
    """Ids in the rows, as they stand in the order."""


def count_sources(tables: Iterable[pa.Table]) -> dict[str, SourceCounts]:
    """Count the rows of tables of `ROW_SCHEMA` by source; sources are sorted by name.

    Of each row eight bytes are held, or less where documents come again.
    """
    rows: defaultdict[str, int] = defaultdict(int)
    tokens: defaultdict[str, int] = defaultdict(int)
    documents: defaultdict[str, list[Int64Array]] = defaultdict(list)
    for batch in (batch for table in tables for batch in table.to_batches()):
        hashes = document_hashes(*utf8_of(batch["document"]))
        places, num_tokens = values_of(batch["source"].indices), values_of(batch["num_tokens"])
        for place, source in enumerate(batch["source"].dictionary.to_pylist()):
            chosen = places == place
            rows[source] += int(chosen.sum())
            tokens[source] += int(num_tokens[chosen].sum(dtype=np.int64))
            documents[source].append(np.unique(hashes[chosen]))
    return {
        source: SourceCounts(
            num_rows=rows[source],
            num_documents=len(np.unique(np.concatenate(documents[source]))),
            num_tokens=tokens[source],
        )
        for source in sorted(rows)
        if rows[source]
    }
