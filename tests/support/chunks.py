"""Chunks as the tests of all algorithms see them: blocks of documents in, (document, ids) out.

Also the texts that they are tried on, and clean-up as the library does it.
"""

import argparse
import json
import random
import re
import string
import textwrap
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from pipeline.config.mixture import ChunkSpec
from pipeline.core.ragged import Rows
from pipeline.stages.chunking import make_chunker
from pipeline.stages.chunking.chunker import Chunker, Chunks
from pipeline.stages.tokenizer import Tokenizer, load_tokenizer

CLS, SEP = 50281, 50282

OWN_TEXT = """\
The harbour master keeps two clocks. One tells the time ; the other , he says , tells the tide .
"Don't trust either" - that's what the ferryman told us , and he 's been right : they 've both
stopped !  We 're late , I 'm afraid ; she does n't mind .  ' Quite so ' , said the cat .

    def tide(hours ):
        return   4.2 * cos( hours / 12.4 )    # metres , roughly

Ebbe \u00fcber Flut ; \u6f6e\u6c50\u8868 \u3002 Na\u00efve caf\u00e9s \U0001f30a\U0001f6a2
e\u0301t\u00e9 ... \u2026 ? ! ,
"""
HOSTILE = [
    " ." * 200,
    " ' " * 150,
    "  .  ?  !  ,  n't 'm 's 've 're " * 30,
    " n't" * 100 + " 's 's 's",
    "\u00e9\u0301" * 120,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467" * 60,
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35" * 60,
    "\U00032847\U0010ffff\ufffd\ue000" * 60,
    "\n" * 300,
    " " * 1_000 + "x" + "\t" * 100,
    "a" * 3_000,
    "<|endoftext|> [unused3] |||IP_ADDRESS||| [MASK] [PAD] " * 30,
    "x" + "[MASK]" * 9 + " y " * 100,
    "\x00\x01\x7f" * 100,
    "\r\n \r\n." * 80,
]


def real_texts() -> list[str]:
    """Prose and code: of the standard library, and our own."""
    modules = (argparse, json, random, re, string, textwrap)
    found = [module.__doc__ or "" for module in modules]
    found += [argparse.ArgumentParser.__doc__ or "", json.dumps.__doc__ or "", OWN_TEXT * 8]
    assert sum(map(len, found)) > 8_000
    return found


class Case(NamedTuple):
    size: int
    min_size: int
    skip_below: int


CASES = [
    Case(16, 14, 3),
    Case(16, 0, 0),
    Case(64, 32, 8),
    Case(1024, 512, 128),
    Case(1024, 1022, 1),
]


@cache
def tokenizer(prefix: bool) -> Tokenizer:
    return load_tokenizer("modernbert", add_prefix_space=prefix)


def chunker(algorithm: str, case: Case, prefix: bool = True) -> Chunker:
    spec = ChunkSpec(
        algorithm=algorithm,  # type: ignore[arg-type]
        size=case.size,
        min_size=case.min_size,
        skip_below=case.skip_below,
        seed=42,
    )
    return make_chunker(spec, tokenizer(prefix))


def clean_up(text: str) -> str:
    """Clean up as transformers 4.57.6 does after decoding."""
    for pattern in (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're"):
        text = text.replace(pattern, pattern.replace(" ", "") if pattern == " ' " else pattern[1:])
    return text


def enforce(ids: list[int], case: Case, prefix: bool, cleans_up: bool = True) -> list[int]:
    """Bring one chunk into stored form; an empty list where it decodes to nothing."""
    reference = tokenizer(prefix)
    text = reference.decode_reference(ids)
    text = clean_up(text) if cleans_up else text
    if not text:
        return []
    if text[0] != " ":
        ids = reference.encode_reference([text]).values.tolist()[: case.size]
    return ids if ids[0] == CLS else [CLS, *ids]


def published(
    encoded: Rows, case: Case, prefix: bool, cleans_up: bool = True
) -> tuple[list[tuple[int, list[int]]], list[int], int]:
    """Chunk as `ettin-reencode-v1`, plainly.

    Return chunks as (document, ids), documents that fail, and how many ids of others are dropped.
    """
    rng = np.random.RandomState(42)
    piece_size = case.size - 2
    chunks: list[tuple[int, list[int]]] = []
    failed, num_dropped = [], 0
    for document, (first, last) in enumerate(pairwise(encoded.offsets.tolist())):
        ids = encoded.values[first:last].tolist()
        stored: list[list[int]] = []
        dropped = 0
        for start in range(0, len(ids), piece_size):
            piece = ids[start : start + piece_size]
            if len(piece) < case.skip_below and start:
                dropped += len(piece)
                continue
            lent = 0
            if len(piece) < case.min_size and stored:
                lent = int(rng.randint(0, piece_size - len(piece)))
            if lent:
                before = stored.pop()
                stored.append(enforce(before[:-lent], case, prefix, cleans_up))
                stored.append(enforce(before[-lent:] + piece, case, prefix, cleans_up))
            else:
                stored.append(enforce(piece, case, prefix, cleans_up))
        if all(stored):
            chunks += [(document, chunk) for chunk in stored]
            num_dropped += dropped
        else:
            failed.append(document)
    return chunks, failed, num_dropped


def slices(encoded: Rows, case: Case) -> tuple[list[tuple[int, list[int]]], int]:
    """Slice as `ettin-slice-v2`, plainly; return (document, ids), and how many ids are dropped."""
    rng = np.random.RandomState(42)
    chunks: list[tuple[int, list[int]]] = []
    num_dropped = 0
    for document, (first, last) in enumerate(pairwise(encoded.offsets.tolist())):
        ids = encoded.values[first:last].tolist()
        stored: list[list[int]] = []
        for start in range(0, len(ids), case.size):
            piece = ids[start : start + case.size]
            if start and len(piece) < case.skip_below:
                num_dropped += len(piece)
                continue
            lent = 0
            if stored and len(piece) < case.min_size:
                lent = int(rng.randint(0, case.size - len(piece)))
            if lent:
                before = stored.pop()
                stored.append(before[:-lent])
                piece = before[-lent:] + piece
            stored.append(piece)
        chunks += [(document, chunk) for chunk in stored]
    return chunks, num_dropped


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
