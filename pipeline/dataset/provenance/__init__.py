"""Provenance: the document of each row of an order, and the rows of each document.

`writer` writes a file beside each file of rows, `document_index` sorts rows by document, `reader`
looks up rows and documents. `docs/spec/provenance.md` describes the files.
"""

from pipeline.dataset.provenance.columns import ColumnReader, RowColumns, row_files
from pipeline.dataset.provenance.document_index import (
    RECORD_DTYPE,
    ROWS_PER_PART,
    IndexRows,
    PlaceRanks,
    documents_file,
    parts_of,
    rank_places,
    read_rows,
    write_documents,
)
from pipeline.dataset.provenance.reader import (
    ProvenanceReader,
    RowProvenance,
    SourceCounts,
    count_sources,
    provenance_of,
)
from pipeline.dataset.provenance.writer import ProvenanceBlock, ProvenanceWriter

__all__ = [
    "RECORD_DTYPE", "ROWS_PER_PART", "ColumnReader", "IndexRows", "PlaceRanks", "ProvenanceBlock",
    "ProvenanceReader", "ProvenanceWriter", "RowColumns", "RowProvenance", "SourceCounts",
    "count_sources", "documents_file", "parts_of", "provenance_of", "rank_places", "read_rows",
    "row_files", "write_documents",
]  # fmt: skip
