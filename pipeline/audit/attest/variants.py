"""Variants: the ways in which rows may have been made of documents, and written.

The mixtures' algorithms are some of them. The others differ in one thing, so that a difference can
be told in words: where documents are cut, what is done to the pieces, and how they are stored.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from pipeline.config import LARGEST_ETTIN_CHUNK, ShardSpec
from pipeline.core.arrays import Uint32Array
from pipeline.core.ragged import Rows
from pipeline.stages.chunking import Cutter, ReencodeChunker, RetokenizeChunker, SliceChunker
from pipeline.stages.tokenizer import Tokenizer

Rewrite = Literal["none", "framed", "retokenized", "re-encoded"]
IdForm = Literal["as they are", "sha1", "<urn:uuid:…>", "none"]

_WORDS: Final[Mapping[Rewrite, str]] = {
    "none": "kept as they are",
    "framed": "given the special tokens that they lack",
    "retokenized": "decoded and tokenized again",
    "re-encoded": "encoded again as by ettin-reencode-v1",
}
ID_FORMS: Final[Mapping[IdForm, Callable[[str], str]]] = {
    "as they are": lambda id_: id_,
    "<urn:uuid:…>": lambda id_: f"<urn:uuid:{id_}>",
    "sha1": lambda id_: hashlib.sha1(id_.encode()).hexdigest(),
    "none": lambda id_: "",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Tails:
    """What is done with the last pieces of documents, and the seed of it."""

    min_size: int = 512
    skip_below: int = 128
    seed: int = 42


@dataclass(frozen=True, kw_only=True, slots=True)
class Making:
    """A way of making rows of documents."""

    cut: int
    """Most ids of a piece."""
    rewrite: Rewrite
    """What is done to the pieces."""
    cleans_up: bool
    """Whether spaces before punctuation go where they are decoded."""
    add_prefix_space: bool

    @property
    def words(self) -> str:
        clean = "" if not self.decodes else " with clean-up" if self.cleans_up else " as it is"
        prefix = "with a prefix space" if self.add_prefix_space else "without prefix space"
        return f"cut at {self.cut:,} ids, {_WORDS[self.rewrite]}{clean}, {prefix}"

    @property
    def decodes(self) -> bool:
        return self.rewrite in ("retokenized", "re-encoded")

    @property
    def settings(self) -> list[str] | None:
        """What sets it in a mixture; None where no algorithm makes such rows."""
        algorithms = {
            ("none", False): ("ettin-slice-v2", self.cut),
            ("retokenized", True): ("ettin-retokenize-v1", self.cut),
            ("re-encoded", True): ("ettin-reencode-v1", self.cut + 2),
        }
        found = algorithms.get((self.rewrite, self.cleans_up))
        if found is None or found[1] > LARGEST_ETTIN_CHUNK:
            return None
        prefix = str(self.add_prefix_space).lower()
        return [
            f"chunk.algorithm={found[0]}",
            f"chunk.size={found[1]}",
            f"tokenizer.add_prefix_space={prefix}",
        ]

    def make(self, tokenizer: Tokenizer, documents: Rows, tails: Tails) -> tuple[Rows, np.ndarray]:
        """Return the rows of documents, the first of a partition, and the document of each row.

        tokenizer: with the prefix space of the variant; documents: their ids.
        """
        cutter = Cutter(
            piece_size=self.cut,
            min_size=min(tails.min_size, self.cut),
            skip_below=tails.skip_below,
            seed=tails.seed,
        )
        if self.rewrite == "retokenized":
            chunker = RetokenizeChunker(tokenizer, cutter, cleans_up=self.cleans_up)
            chunks = chunker.chunk(documents)
        elif self.rewrite == "re-encoded":
            chunks = ReencodeChunker(tokenizer, cutter, self.cut + 2).chunk(documents)
        else:
            chunks = SliceChunker(cutter).chunk(documents)
        rows = chunks.rows
        return (_framed(rows, tokenizer) if self.rewrite == "framed" else rows), chunks.documents


def _framed(rows: Rows, tokenizer: Tokenizer) -> Rows:
    """Add CLS and SEP to the rows that lack them."""

    def frame(ids: Uint32Array) -> Uint32Array:
        front = [tokenizer.cls_id] if ids[0] != tokenizer.cls_id else []
        back = [tokenizer.sep_id] if ids[-1] != tokenizer.sep_id else []
        return np.concatenate([front, ids, back]).astype(np.uint32)

    return Rows.pack([frame(ids) for ids in rows])


def makings(size: int) -> Iterator[Making]:
    """Yield the ways for chunks of a declared size, the likeliest first."""
    for prefix in (False, True):
        for cut in (size, size - 2, size + 2):
            yield Making(cut=cut, rewrite="none", cleans_up=False, add_prefix_space=prefix)
            for cleans_up in (True, False):
                yield Making(
                    cut=cut, rewrite="retokenized", cleans_up=cleans_up, add_prefix_space=prefix
                )
            yield Making(cut=cut, rewrite="framed", cleans_up=False, add_prefix_space=prefix)
            yield Making(cut=cut, rewrite="re-encoded", cleans_up=True, add_prefix_space=prefix)


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """How rows are stored."""

    dtype: Literal["uint16", "uint32"]
    header: Literal["zstd"] | None
    ids: IdForm

    @property
    def words(self) -> str:
        header = "zstd" if self.header else "null"
        return f"{self.dtype}, a header that says {header}, ids of documents: {self.ids}"

    @property
    def settings(self) -> list[str]:
        header = "zstd" if self.header else "null"
        return [f"shards.dtype={self.dtype}", f"shards.header_compression={header}"]

    def shards(self, size_limit: int) -> ShardSpec:
        return ShardSpec(dtype=self.dtype, size_limit=size_limit, header_compression=self.header)


def forms() -> Iterator[Form]:
    """Yield the ways of storing rows, the likeliest first."""
    dtypes: tuple[Literal["uint16", "uint32"], ...] = ("uint16", "uint32")
    headers: tuple[Literal["zstd"] | None, ...] = ("zstd", None)
    for dtype in dtypes:
        for header in headers:
            for ids in ID_FORMS:
                yield Form(dtype=dtype, header=header, ids=ids)
