"""`ettin-slice-v1`: plain slices, cut and back-filled as published, ids never changed.

The best reading of what made the released pre-training shards: the first chunk of a document starts
with CLS, the last ends with SEP, those between have neither. Frozen; golden vectors in the tests.
"""

import numpy as np

from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.stages.chunking.chunks import Chunks
from pipeline.stages.chunking.cut import Cutter


class SliceChunker:
    """Chunks the documents of one partition, block after block."""

    def __init__(self, *, size: int, min_size: int, skip_below: int, seed: int) -> None:
        self._cutter = Cutter(size=size, min_size=min_size, skip_below=skip_below, seed=seed)

    def chunk(self, ids: Uint32Array, offsets: Int64Array) -> Chunks:
        """Chunk tokenised documents: ids uint32 [num_ids], offsets int64 [num_documents + 1]."""
        pieces = self._cutter.cut(offsets)
        # What the last piece borrows lies right before it, so both edges just move.
        starts = pieces.starts - pieces.borrowed
        stops = pieces.stops.copy()
        borrowers = np.flatnonzero(pieces.borrowed)
        stops[borrowers - 1] = starts[borrowers]
        lengths = stops - starts
        chunk_offsets = np.zeros(len(starts) + 1, np.int64)
        np.cumsum(lengths, out=chunk_offsets[1:])
        # Chunks are the ids themselves, less the dropped tails.
        kept = np.repeat(starts - chunk_offsets[:-1], lengths) + np.arange(chunk_offsets[-1])
        return Chunks(
            ids=ids[kept],
            offsets=chunk_offsets,
            documents=pieces.documents,
            failed=np.empty(0, np.int64),
            num_discarded=int(pieces.discarded.sum()),
            num_added=0,
        )
