"""Provenance: the document of each row of an order, and the rows of each document.

`writer` writes a file beside each file of rows, `document_index` sorts these by document, `reader`
looks up rows and documents. `docs/spec/provenance.md` describes the files.
"""

from pipeline.dataset.provenance.document_index import (
    index_tasks,
    sort_rows,
    sort_tasks,
    write_index,
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
    "ProvenanceBlock", "ProvenanceReader", "ProvenanceWriter", "RowProvenance", "SourceCounts",
    "count_sources", "index_tasks", "provenance_of", "sort_rows", "sort_tasks", "write_index",
]  # fmt: skip
