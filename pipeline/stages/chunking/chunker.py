"""Chunk: the runs of ids of documents -> chunks, by a named and frozen algorithm.

One file an algorithm. A chunker is made for each partition and fed its blocks in file order.
"""

from typing import Protocol

from pipeline.config import ChunkSpec
from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.stages.chunking.chunks import Chunks
from pipeline.stages.chunking.reencode import ReencodeChunker
from pipeline.stages.chunking.slice import SliceChunker
from pipeline.stages.chunking.whole import WholeChunker
from pipeline.stages.tokenizer.encode import Tokenizer


class Chunker(Protocol):
    """What each algorithm offers."""

    def chunk(self, ids: Uint32Array, offsets: Int64Array) -> Chunks:
        """Chunk the next documents: ids uint32 [num_ids], offsets int64 [num_documents + 1]."""
        ...


def make_chunker(spec: ChunkSpec, tokenizer: Tokenizer) -> Chunker:
    """Return a fresh chunker for one partition."""
    if spec.algorithm == "whole-v1":
        return WholeChunker(size=spec.size, cls_id=tokenizer.cls_id, sep_id=tokenizer.sep_id)
    # `add_eos` asks for what the template has done: every document ends with SEP.
    assert spec.min_size is not None
    assert spec.skip_below is not None
    assert spec.seed is not None
    cutting = {
        "size": spec.size,
        "min_size": spec.min_size,
        "skip_below": spec.skip_below,
        "seed": spec.seed,
    }
    if spec.algorithm == "ettin-slice-v1":
        return SliceChunker(**cutting)
    return ReencodeChunker(tokenizer, **cutting)
