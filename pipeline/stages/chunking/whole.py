"""`whole-v1`: our default. Every chunk is CLS … SEP; nothing is lost, doubled or drawn.

A document's ids, less its CLS and SEP, are cut into full chunks, but for the last two, which share
what is left evenly, the longer first; so no chunk of a long document is a crumb. Frozen; golden
vectors in the tests.
"""

import numpy as np

from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.core.compiled import compiled
from pipeline.stages.chunking.chunks import Chunks


class WholeChunker:
    """Chunks documents; has no state, so a document's chunks depend on it alone."""

    def __init__(self, *, size: int, cls_id: int, sep_id: int) -> None:
        self._content_size = size - 2
        self._cls_id = cls_id
        self._sep_id = sep_id

    def chunk(self, ids: Uint32Array, offsets: Int64Array) -> Chunks:
        """Chunk tokenised documents: ids uint32 [num_ids], offsets int64 [num_documents + 1].

        Each document is CLS, at least one id, SEP.
        """
        content_lengths = np.diff(offsets) - 2
        counts = -(-content_lengths // self._content_size)
        documents = np.repeat(np.arange(len(counts)), counts)
        ordinals = np.arange(len(documents)) - np.repeat(np.cumsum(counts) - counts, counts)
        lengths = self._lengths(content_lengths[documents], counts[documents], ordinals)
        chunk_offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths + 2, out=chunk_offsets[1:])
        out = np.empty(int(chunk_offsets[-1]), np.uint32)
        _frame(ids, offsets, documents, lengths, out, self._cls_id, self._sep_id)
        return Chunks(
            ids=out,
            offsets=chunk_offsets,
            documents=documents,
            failed=np.empty(0, np.int64),
            num_discarded=0,
            num_added=2 * (len(documents) - len(counts)),
        )

    def _lengths(self, content: Int64Array, counts: Int64Array, ordinals: Int64Array) -> Int64Array:
        full = np.full(len(ordinals), self._content_size, np.int64)
        # Full chunks before the last two; a document of one chunk keeps it whole.
        rest = content - np.maximum(counts - 2, 0) * self._content_size
        from_end = counts - 1 - ordinals
        larger, smaller = -(-rest // 2), rest // 2
        shared = np.where(from_end == 1, larger, smaller)
        lengths = np.where(from_end >= 2, full, shared)
        return np.where(counts == 1, content, lengths)


@compiled
def _frame(
    ids: Uint32Array,
    offsets: Int64Array,
    documents: Int64Array,
    lengths: Int64Array,
    out: Uint32Array,
    cls_id: int,
    sep_id: int,
) -> None:
    source = np.int64(0)
    position = 0
    previous = -1
    for chunk in range(documents.size):
        if documents[chunk] != previous:
            previous = documents[chunk]
            source = offsets[previous] + 1
        out[position] = cls_id
        position += 1
        for _ in range(lengths[chunk]):
            out[position] = ids[source]
            position += 1
            source += 1
        out[position] = sep_id
        position += 1
