"""The interface of chunkers: the ids of a block of documents -> its chunks."""

from dataclasses import dataclass
from typing import Protocol

from pipeline.core.arrays import Int64Array
from pipeline.core.ragged import Rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunks:
    """The chunks of one block of documents, in order."""

    rows: Rows
    documents: Int64Array
    """int64 [num_chunks], the document of each chunk, as an index into its block."""
    failed: Int64Array
    """int64 [num_failed], documents that cannot be chunked and have no chunks, in order."""
    num_discarded: int
    """Tokens of the other documents that no chunk holds."""
    num_added: int
    """Tokens that chunks have beyond the documents'; negative if re-encoding loses some."""


class Chunker(Protocol):
    """Chunks the documents of one partition, block after block, in file order."""

    def chunk(self, documents: Rows) -> Chunks:
        """Chunk the next documents, given as their ids with CLS and SEP."""
