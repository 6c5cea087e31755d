"""`whole-v1`: our default. Every chunk is CLS … SEP; no token is lost, repeated or random.

The ids of a document without CLS and SEP are cut into full chunks, except for the last two, which
split the rest evenly, the longer first, so that no last chunk is tiny. A tokenizer that has no CLS
or no SEP leaves it out, and the chunk has room for an id more. Frozen; golden vectors in the tests.
"""

import numpy as np

from pipeline.core.arrays import Int64Array
from pipeline.core.ragged import Rows, copy_ranges, offsets_of
from pipeline.stages.chunking.chunker import Chunks
from pipeline.stages.chunking.slice import number_parts
from pipeline.stages.tokenizer import NO_TOKEN


class WholeChunker:
    """Chunks documents, without state."""

    def __init__(self, *, size: int, cls_id: int, sep_id: int) -> None:
        self._cls_id, self._sep_id = cls_id, sep_id
        self._has_cls, self._has_sep = int(cls_id != NO_TOKEN), int(sep_id != NO_TOKEN)
        self._num_special = self._has_cls + self._has_sep
        self._content_size = size - self._num_special

    def chunk(self, documents: Rows) -> Chunks:
        """Chunk documents, each of which is CLS, at least one id, SEP."""
        content = documents.lengths() - self._num_special
        counts = -(-content // self._content_size)
        owners, ordinals = number_parts(counts)
        lengths = self._lengths(content[owners], counts[owners], ordinals)
        offsets = offsets_of(lengths + self._num_special)
        values = np.empty(int(offsets[-1]), np.uint32)
        if self._has_cls:
            values[offsets[:-1]] = self._cls_id
        if self._has_sep:
            values[offsets[1:] - 1] = self._sep_id
        # Contents are adjacent, except for the CLS and SEP of each document.
        starts = np.cumsum(lengths) - lengths + self._num_special * owners + self._has_cls
        copy_ranges(documents.values, starts, lengths, values, offsets[:-1] + self._has_cls)
        return Chunks(
            rows=Rows(values, offsets),
            documents=owners,
            failed=np.empty(0, np.int64),
            num_discarded=0,
            num_added=self._num_special * (len(owners) - len(counts)),
        )

    def _lengths(self, content: Int64Array, counts: Int64Array, ordinals: Int64Array) -> Int64Array:
        # Full chunks before the last two; a single chunk stays whole.
        rest = content - np.maximum(counts - 2, 0) * self._content_size
        from_end = counts - 1 - ordinals
        shared = np.where(from_end == 1, -(-rest // 2), rest // 2)
        lengths = np.where(from_end >= 2, self._content_size, shared)
        return np.where(counts == 1, content, lengths)
