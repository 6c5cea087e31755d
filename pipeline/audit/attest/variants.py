"""Variants: the ways in which rows may have been made of documents, and written.

The mixtures' algorithms are some of them. The others differ in one thing, so that a difference can
be told in words: where documents are cut, what is done to the pieces, and how they are stored.
Unlike the variants of `verify`, some are made by no chunker that a mixture can name.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal

import numpy as np

from pipeline.config import LARGEST_ETTIN_CHUNK, ShardSpec
from pipeline.core.arrays import Int64Array
from pipeline.core.ragged import Rows, copy_ranges, offsets_of
from pipeline.stages.chunking import Cutter, ReencodeChunker, RetokenizeChunker, SliceChunker
from pipeline.stages.tokenizer import Tokenizer

Rewrite = Literal[
    "none", "framed", "framed twice", "bare", "retokenized", "kept specials", "re-encoded"
]
IdForm = Literal["as they are", "sha1", "<urn:uuid:…>", "none"]

_WORDS: Final[Mapping[Rewrite, str]] = {
    "none": "kept as they are",
    "framed": "given the special tokens that they lack",
    "framed twice": "given both special tokens, even those that they have",
    "bare": "of documents without special tokens, given both",
    "retokenized": "decoded and tokenized again",
    "kept specials": "decoded with their special tokens and tokenized again",
    "re-encoded": "encoded again as by ettin-reencode-v1",
}
# The likeliest first, each with whether spaces are cleaned up where pieces are decoded.
_REWRITES: Final[tuple[tuple[Rewrite, bool], ...]] = (
    ("none", False),
    ("retokenized", True),
    ("retokenized", False),
    ("framed", False),
    ("framed twice", False),
    ("bare", False),
    ("kept specials", True),
    ("kept specials", False),
    ("re-encoded", True),
    ("re-encoded", False),
)
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
    tails: Tails = Tails()

    @property
    def words(self) -> str:
        decodes = self.rewrite in ("retokenized", "kept specials", "re-encoded")
        clean = "" if not decodes else " with clean-up" if self.cleans_up else " as it is"
        prefix = "with a prefix space" if self.add_prefix_space else "without prefix space"
        return f"cut at {self.cut:,} ids, {_WORDS[self.rewrite]}{clean}, {prefix}"

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
        return [
            f"chunk.algorithm={found[0]}",
            f"chunk.size={found[1]}",
            f"chunk.min_size={self.tails.min_size}",
            f"chunk.skip_below={self.tails.skip_below}",
            f"tokenizer.add_prefix_space={str(self.add_prefix_space).lower()}",
        ]

    def cutter(self, before: Int64Array) -> Cutter:
        """Return the cutter of a partition, by which pieces are made.

        before: int64 [num_documents], ids of the documents before those that are to be cut.
        """
        cutter = Cutter(
            piece_size=self.cut,
            min_size=min(self.tails.min_size, self.cut),
            skip_below=self.tails.skip_below,
            seed=self.tails.seed,
        )
        lengths = before - 2 if self.rewrite == "bare" else before
        cutter.cut(Rows(np.empty(0, np.uint32), offsets_of(lengths)))
        return cutter

    def make(
        self, tokenizer: Tokenizer, documents: Rows, cutter: Cutter
    ) -> tuple[Rows, Int64Array]:
        """Return the rows of documents, and the document of each row: int64 [num_rows].

        tokenizer: with the prefix space of the variant; documents: their ids, from CLS to
        SEP; cutter: that of `cutter`, after the documents before them.
        """
        if self.rewrite == "bare":
            starts, stops = documents.offsets[:-1] + 1, documents.offsets[1:] - 1
            documents = Rows.from_ranges(documents.values, starts, stops)
        if self.rewrite == "re-encoded":
            again = ReencodeChunker(tokenizer, cutter, self.cut + 2, cleans_up=self.cleans_up)
            chunks = again.chunk(documents)
        elif self.rewrite in ("retokenized", "kept specials"):
            keeps = self.rewrite == "kept specials"
            chunks = RetokenizeChunker(
                tokenizer, cutter, cleans_up=self.cleans_up, keeps_specials=keeps
            ).chunk(documents)
        else:
            chunks = SliceChunker(cutter).chunk(documents)
        rows = chunks.rows
        if self.rewrite in ("framed", "framed twice", "bare"):
            rows = _framed(rows, tokenizer, always=self.rewrite != "framed")
        return rows, chunks.documents


def _framed(rows: Rows, tokenizer: Tokenizer, *, always: bool) -> Rows:
    """Add CLS and SEP to the rows that lack them, or to all."""
    begins = rows.values[rows.offsets[:-1]] == tokenizer.cls_id
    ends = rows.values[rows.offsets[1:] - 1] == tokenizer.sep_id
    front, back = (np.ones_like(one) if always else ~one for one in (begins, ends))
    offsets = offsets_of(rows.lengths() + front + back)
    values = np.empty(int(offsets[-1]), np.uint32)
    copy_ranges(rows.values, rows.offsets[:-1], rows.lengths(), values, offsets[:-1] + front)
    values[offsets[:-1][front]] = tokenizer.cls_id
    values[offsets[1:][back] - 1] = tokenizer.sep_id
    return Rows(values, offsets)


def makings(cuts: Iterable[int], tails: Tails = Tails()) -> list[Making]:
    """Return the ways for documents cut at these sizes, the likeliest first.

    cuts: in order of likelihood, each once.
    """
    return [
        Making(cut=cut, rewrite=rewrite, cleans_up=cleans, add_prefix_space=prefix, tails=tails)
        for prefix, cut, (rewrite, cleans) in product((False, True), cuts, _REWRITES)
    ]


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
    for dtype, header, ids in product(dtypes, headers, ID_FORMS):
        yield Form(dtype=dtype, header=header, ids=ids)
