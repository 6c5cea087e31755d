"""What every chunker takes and returns: the ids of a block of documents -> its chunks."""

from dataclasses import dataclass
from typing import Protocol

from pipeline.core.arrays import Int64Array
from pipeline.core.ragged import Rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunks:
    """Chunks of one block of documents, in order."""

    rows: Rows
    """The ids of each chunk."""
    documents: Int64Array
    """int64 [num_chunks], the index of each chunk's document in its block."""
    failed: Int64Array
    """int64 [num_failed], documents that cannot be chunked, in order; they have no chunks."""
    num_discarded: int
    """Tokens of the other documents that are in no chunk."""
    num_added: int
    """Tokens in chunks beyond those of the documents; negative where re-encoding lost some."""


class Chunker(Protocol):
    """Chunks the documents of one partition, block after block, in file order."""

    def chunk(self, documents: Rows) -> Chunks:
        """Chunk the next documents, given as their ids with CLS and SEP."""
