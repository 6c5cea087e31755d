"""`Chunks`: what every chunker returns for a block of documents."""

from dataclasses import dataclass

import numpy as np

from pipeline.core.arrays import Int64Array, Uint32Array


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunks:
    """Chunks of one block of documents, in order."""

    ids: Uint32Array
    """uint32 [num_ids], all chunks one after the other."""
    offsets: Int64Array
    """int64 [num_chunks + 1]; chunk i is `ids[offsets[i]:offsets[i + 1]]`."""
    documents: Int64Array
    """int64 [num_chunks], the index of each chunk's document in its block."""
    failed: Int64Array
    """int64 [num_failed], documents that cannot be chunked, in order; no chunk is of them."""
    num_discarded: int
    """Tokens of the other documents that went into no chunk."""
    num_added: int
    """Tokens in chunks beyond those of the documents; negative where re-encoding lost some."""

    def lengths(self) -> Int64Array:
        """Return the number of ids of each chunk: int64 [num_chunks]."""
        return np.diff(self.offsets)
