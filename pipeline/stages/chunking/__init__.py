"""Chunk: the runs of ids of documents -> chunks, by a named and frozen algorithm.

One file an algorithm. A chunker is made for each partition and fed its blocks in file order.
"""

from pipeline.stages.chunking.chunker import make_chunker
from pipeline.stages.chunking.chunks import Chunks
from pipeline.stages.chunking.reencode import ReencodeChunker
from pipeline.stages.chunking.slice import SliceChunker
from pipeline.stages.chunking.whole import WholeChunker

__all__ = [
    "Chunks",
    "ReencodeChunker",
    "SliceChunker",
    "WholeChunker",
    "make_chunker",
]
