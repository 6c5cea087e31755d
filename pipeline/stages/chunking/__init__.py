"""Chunking: the token ids of documents -> chunks, with one file for each frozen algorithm."""

from pipeline.config import ChunkSpec
from pipeline.stages.chunking.chunker import Chunker, Chunks
from pipeline.stages.chunking.line import LineChunker
from pipeline.stages.chunking.reencode import ReencodeChunker
from pipeline.stages.chunking.retokenize import RetokenizeChunker
from pipeline.stages.chunking.slice import Cutter, SliceChunker
from pipeline.stages.chunking.whole import WholeChunker
from pipeline.stages.tokenizer import Tokenizer

__all__ = [
    "Chunks",
    "Cutter",
    "ReencodeChunker",
    "RetokenizeChunker",
    "SliceChunker",
    "make_chunker",
]


def make_chunker(spec: ChunkSpec, tokenizer: Tokenizer, *, cleans_up: bool = True) -> Chunker:
    """Return a new chunker for one partition.

    cleans_up: whether spaces are where text is encoded again, as every algorithm has it.
    """
    if spec.algorithm == "whole-v1":
        return WholeChunker(size=spec.size, cls_id=tokenizer.cls_id, sep_id=tokenizer.sep_id)
    if spec.algorithm == "ettin-line-v1":
        return LineChunker()
    # `add_eos` has no effect: the tokenizer's template already ends every document with SEP.
    assert spec.min_size is not None
    assert spec.skip_below is not None
    assert spec.seed is not None
    cutter = Cutter(
        piece_size=spec.piece_size,
        min_size=spec.min_size,
        skip_below=spec.skip_below,
        seed=spec.seed,
    )
    if spec.algorithm == "ettin-reencode-v1":
        return ReencodeChunker(tokenizer, cutter, spec.size, cleans_up=cleans_up)
    if spec.algorithm == "ettin-retokenize-v1":
        return RetokenizeChunker(tokenizer, cutter, cleans_up=cleans_up)
    return SliceChunker(cutter)
