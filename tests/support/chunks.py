"""Chunks as the tests of all algorithms see them: blocks of documents in, (document, ids) out."""

from itertools import pairwise

from pipeline.core.ragged import Rows
from pipeline.stages.chunking.chunker import Chunker, Chunks
from pipeline.stages.tokenizer import Tokenizer


def in_blocks(made: Chunker, encoded: Rows, blocks: list[int]) -> tuple[list[Chunks], list[int]]:
    """Chunk block after block; return the chunks and where each block starts."""
    return [made.chunk(encoded.slice(a, b)) for a, b in pairwise(blocks)], blocks[:-1]


def listed(chunks: list[Chunks], firsts: list[int]) -> list[tuple[int, list[int]]]:
    """Return all chunks as (document, ids)."""
    return [
        (first + document, ids.tolist())
        for one, first in zip(chunks, firsts, strict=True)
        for document, ids in zip(one.documents.tolist(), one.rows, strict=True)
    ]


CLS, SEP = 50281, 50282

FROZEN_TEXT = (
    "The tide , he says , is late . Don't mind it ; it 's only water \u6f6e and\n\n  salt !"
)
FROZEN_IDS = [
    *[CLS, 510, 26816, 1157, 344, 2296, 1157, 310, 3563, 964, 5037, 626, 2564, 352, 3706, 352],
    *[686, 84, 760, 1824, 209, 162, 123, 108, 285, 535, 50276, 40918, 2195, SEP],
    *[CLS, 17624, 15, SEP],
    *[CLS, 344, 2296, 1157, 310, 3563, 964, 5037, 626, 2564, 352, 3706, 352, 686, 84, 760],
    *[5172, SEP],
]


def frozen_documents(tokenizer: Tokenizer) -> Rows:
    """Three documents: of three pieces, of one, and of two, the last of which is short."""
    encoded = tokenizer.encode([FROZEN_TEXT, "Short.", FROZEN_TEXT[10:60]])
    assert encoded.values.tolist() == FROZEN_IDS
    assert encoded.offsets.tolist() == [0, 30, 34, 52]
    return encoded
