"""`Mixture`: everything that decides the bytes of a data set, as a person declares it."""

from dataclasses import replace
from fractions import Fraction
from typing import Any, ClassVar, Final, Literal

from pipeline.config.declaration import LARGEST_LENGTH, OrderedData, with_listing
from pipeline.config.sample import (
    BY_PARTITION,
    IN_SEQUENCE,
    LONGEST_FIRST,
    OwnSample,
    SampleSpec,
    SourceSample,
)
from pipeline.config.settings import Complaints, Given, optional, setting, settings, to_plain
from pipeline.config.shares import budgets_of_shares, check_shares
from pipeline.config.source import SOURCES, Source
from pipeline.config.value_types import (
    DOCUMENT_SIZE,
    GLOB,
    LARGEST_SEED,
    LINE,
    NAME,
    SEED,
    TOKEN_AMOUNT,
    Integer,
    Number,
    OneOrMany,
)
from pipeline.core.html_table import html_table

MAX_BAD: Final = Fraction(1, 100)
"""The default of `max_bad`."""
MAX_DOCUMENT_BYTES: Final = 256 * 2**20
"""The default of `max_document_bytes`."""
# token_decile.json of the published chunker gives a length for each thousand tokens up to 8k.
LARGEST_ETTIN_CHUNK: Final = 8_999
PUBLISHED_SIZES: Final = (1024, 8000, 8192)
"""Sizes of the chunks of published folders, the last of the suite's successor."""
UNCUT: Final = ("ettin-line-v1", "whole-v1")
"""Chunking algorithms without rules for short pieces."""


@settings
class ChunkSpec:
    algorithm: Literal[
        "ettin-line-v1",
        "ettin-reencode-v1",
        "ettin-retokenize-v1",
        "ettin-slice-v1",
        "ettin-slice-v2",
        "whole-v1",
    ] = setting(
        "Versioned chunking algorithm: whole-v1 loses nothing, ettin-* cut as published; "
        "ettin-line-v1 takes each text as a chunk, for lines that were cut already.",
        default="whole-v1",
    )
    size: int = setting(
        "Maximum tokens of one chunk; with ettin-* at most 8,999; with ettin-line-v1, which cuts "
        "nothing, the size that texts were cut at.",
        Integer(4, LARGEST_LENGTH),
    )
    min_size: int | None = setting(
        "A last piece below this borrows from the one before; for ettin-* only, and required.",
        Integer(0, LARGEST_LENGTH),
        default=None,
    )
    skip_below: int | None = setting(
        "A last piece below this is dropped and counted; for ettin-* only, and required.",
        Integer(0, LARGEST_LENGTH),
        default=None,
    )
    add_eos: bool = setting(
        "Has no effect, since every document ends with SEP; accepted with ettin-*.", default=False
    )
    seed: int | None = setting(
        "Seed of the borrowing; for ettin-* only, and required.", SEED, default=None
    )

    @property
    def piece_size(self) -> int:
        """Most ids of the pieces that ettin-* cut documents into."""
        return self.size - _reserved(self.algorithm)

    @staticmethod
    def rule(given: Given) -> Complaints:
        algorithm, size = given.get("algorithm"), given.get("size")
        if algorithm is None:
            return
        if algorithm in UNCUT:
            reason = f"with {algorithm}, which has no such rule"
            for name in ("min_size", "skip_below", "seed"):
                if given.get(name) is not None:
                    yield name, given[name], f"none {reason}"
            if given.get("add_eos"):
                yield "add_eos", "true", f"false {reason}"
            return
        reserved = _reserved(algorithm)
        piece_size = f"size - {reserved}" if reserved else "size"
        for name, expected in (
            ("min_size", f"an integer from 0 to {piece_size}"),
            ("skip_below", "an integer from 0"),
            ("seed", f"an integer from 0 to {LARGEST_SEED:,}"),
        ):
            if name in given and given[name] is None:
                yield name, "nothing", f"{expected} with {algorithm}"
        if size is None:
            return
        if size > LARGEST_ETTIN_CHUNK:
            most = f"at most {LARGEST_ETTIN_CHUNK:,} with {algorithm}"
            yield "size", size, f"{most}: token_decile.json has no key above 8k"
        if (given.get("min_size") or 0) > size - reserved:
            yield "min_size", given["min_size"], f"at most {piece_size}, here {size - reserved:,}"


CUT_AT_SIZE: Final = ("ettin-retokenize-v1", "ettin-slice-v2")
"""Chunkers whose pieces have as many ids as `size`; they cut alike."""


def _reserved(algorithm: str) -> int:
    """Return how many ids of a chunk are left free for CLS and SEP, whether or not they come."""
    return 0 if algorithm in CUT_AT_SIZE else 2


@settings
class MinHashSpec:
    algorithm: Literal["minhash-v1"] = setting(
        "Versioned algorithm that finds near duplicates.", default="minhash-v1"
    )
    ngram_words: int = setting("Words per shingle.", Integer(1, 100), default=5)
    num_bands: int = setting(
        "Number of bands; two documents that agree in one are a pair.", Integer(1, 1000), default=14
    )
    rows_per_band: int = setting(
        "Hashes per band, all of which must agree.", Integer(1, 1000), default=8
    )
    seed: int = setting("Seed of the hashes.", SEED, default=1)


@settings
class DedupSpec:
    scope: Literal["mixture", "source"] = setting(
        "Whether sources are compared with each other, or each only with itself.", default="mixture"
    )
    exact: bool = setting(
        "Whether texts count as the same that differ only in white space and Unicode composition.",
        default=True,
    )
    minhash: MinHashSpec | None = setting(
        "How near duplicates are found; null to keep them.", default=None
    )


@settings
class DecontaminateSpec:
    algorithm: Literal["ngrams-v1"] = setting(
        "Versioned algorithm that finds evaluation texts in documents.", default="ngrams-v1"
    )
    path: tuple[str, ...] = setting(
        "Glob of files of evaluation texts, relative to this file.", OneOrMany(GLOB), is_set=True
    )
    text: str = setting("Name of the field with an evaluation's text.", LINE, default="text")
    ngram_words: int = setting(
        "Consecutive words that a document must not share.", Integer(1, 100), default=13
    )


@settings
class ValidationSpec:
    algorithm: Literal["validation-v1", "ettin-validation-v1"] = setting(
        "Versioned algorithm that chooses the holdout: validation-v1 whole documents by text, so "
        "that no text is in both splits; ettin-* whole partitions and the first chunks of one, as "
        "published.",
        default="validation-v1",
    )
    fraction: Fraction = setting(
        "Fraction of each source's tokens, such as 0.001 or 1/1000.",
        Number(),
        default=Fraction(1, 1000),
    )
    seed: int = setting("Seed of the choice.", SEED, default=0)
    chunker: Literal["ettin-slice-v2", "ettin-retokenize-v1"] | None = setting(
        "Chunking algorithm of the holdout, if not that of `chunk`, whose other keys it shares; "
        "both must cut documents at the same places.",
        default=None,
        omits_default=True,
    )

    @staticmethod
    def rule(given: Given) -> Complaints:
        if given.get("algorithm") == "ettin-validation-v1" and given.get("fraction") == 1:
            yield "fraction", 1, "a number below 1, which leaves something to train on"


@settings
class Mixture(OrderedData):
    composed: ClassVar[tuple[str, ...]] = ("extends", "origins")

    name: str = setting("Name of the mixture.", NAME)
    tokens: int | None = optional(
        "Token budget of all sources with a share together, before scale.",
        TOKEN_AMOUNT,
        # What each source is given of it is declared there.
        changes_bytes=False,
    )
    scale: Fraction = setting(
        "Factor of every budget, in whole tokens, for a miniature such as 1/1000000. Below 1, only "
        "part of the files is read, ettin-partitions-* is keyed-v1, and less than a step makes "
        "one step.",
        Number(1000),
        default=Fraction(1),
    )
    chunk: ChunkSpec = setting("How documents are cut into chunks.")
    sources: tuple[Source, ...] = setting(
        "Where documents come from, by a name of your choice.", SOURCES
    )
    dedup: DedupSpec | None = setting(
        "Which documents are dropped as duplicates of an earlier one, by source, file and row.",
        default=None,
    )
    decontaminate: DecontaminateSpec | None = setting(
        "Which documents are dropped because they contain evaluation texts.", default=None
    )
    validation: ValidationSpec | None = setting(
        "Which whole documents are held out for validation, as an output of their own.",
        default=None,
    )
    keep_dropped: Fraction | None = optional(
        "Fraction of the documents dropped by filters, dedup and decontamination that is kept in "
        "dropped/, such as 0.01; 1 keeps all.",
        Number(),
    )
    sample: SampleSpec = setting("How chunks are sampled to meet budgets.", default=SampleSpec())
    on_error: Literal["stop", "skip"] = setting(
        "Whether a bad document stops the build, or is counted and skipped.", default="stop"
    )
    max_bad: Fraction = setting(
        "Largest fraction of a file's documents that `on_error: skip` skips because they cannot be "
        "read; up to 20 are always skipped, all of a file never.",
        Number(zero=True),
        default=MAX_BAD,
        changes_bytes=False,
    )
    max_document_bytes: int = setting(
        "Largest document; a larger one is a bad document.",
        DOCUMENT_SIZE,
        default=MAX_DOCUMENT_BYTES,
        omits_default=True,
    )

    @staticmethod
    def rule(given: Given) -> Complaints:
        shared = given.get("sample")
        for source in given.get("sources") or ():
            first = source.sample.first if source.sample and shared else ()
            if first and source.sample.under(shared).algorithm != LONGEST_FIRST:
                yield (
                    f"sources.{source.name}.sample.first",
                    ", ".join(first),
                    f"it with {LONGEST_FIRST} only, here or as sample.algorithm",
                )
        if "tokens" in given and "sources" in given:
            yield from check_shares(given["tokens"], given["sources"])
        yield from _needs_all_files(given)
        chunk, validation = given.get("chunk"), given.get("validation")
        if chunk is None or validation is None:
            return
        if chunk.algorithm == "ettin-line-v1":
            yield "validation", "it with ettin-line-v1", "none, since lines are no whole documents"
        elif validation.chunker is not None and chunk.algorithm not in CUT_AT_SIZE:
            yield (
                "validation",
                f"chunker {validation.chunker} beside chunk.algorithm {chunk.algorithm}",
                f"none, or {' or '.join(CUT_AT_SIZE)} as chunk.algorithm, which cut alike",
            )

    @property
    def validation_chunk(self) -> ChunkSpec | None:
        """How the holdout is chunked, if not as `chunk` says."""
        if self.validation is None or self.validation.chunker in (None, self.chunk.algorithm):
            return None
        assert self.validation.chunker is not None
        return replace(self.chunk, algorithm=self.validation.chunker)

    def tokens_of(self, source: Source) -> int | Literal["all"] | None:
        """Return the token budget of a source; None with `epochs`. Pure.

        What the shares of `tokens` come to is rounded by largest remainder, so that these budgets
        sum to it exactly.
        """
        if source.share is not None:
            return budgets_of_shares(self.tokens or 0, self.sources)[source.name]
        return source.tokens or (None if source.epochs else "all")

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        budgets = [self.tokens_of(one) for one in self.sources]
        total = sum(one for one in budgets if isinstance(one, int))
        scale = "" if self.scale == 1 else f", scale {self.scale}"
        return html_table(
            f"mixture {self.name}",
            [
                f"{self.chunk.algorithm} at {self.chunk.size:,}, {self.order.algorithm}, seed"
                f" {self.order.seed}, view {self.order.view}{scale}",
                f"{total:,} tokens declared; fingerprint {self.fingerprint}",
            ],
            ("source", "category", "from", "filters"),
            ("tokens", "epochs", "repetition"),
            (
                (
                    one.name,
                    one.category,
                    one.origin.kind,
                    ", ".join(filter.name for filter in one.filters),
                    f"{budget:,}" if isinstance(budget, int) else budget or "",
                    "" if one.epochs is None else str(one.epochs),
                    str(one.max_repetition),
                )
                for one, budget in zip(self.sources, budgets, strict=True)
            ),
        )

    def sample_of(self, source: Source) -> SourceSample:
        """Return how a source's chunks are sampled. Pure."""
        own = (source.sample or OwnSample()).under(self.sample)
        if self.scale < 1 and own.algorithm in BY_PARTITION:
            # A whole file would be more than all of a miniature.
            return replace(own, algorithm="keyed-v1")
        return own

    def declaration(self) -> dict[str, Any]:
        sources = {one.name: to_plain(one) for one in self.sources}
        for one in self.sources:
            sources[one.name]["tokens"] = self.tokens_of(one)
            if one.sample is not None:
                sources[one.name]["sample"] = to_plain(one.sample.under(self.sample))
        return with_listing({**to_plain(self), "sources": sources}, self)


def _needs_all_files(given: Given) -> Complaints:
    """Refuse to leave files unread where documents are chosen among those of all files."""
    shared, sources = given.get("sample"), given.get("sources") or ()
    samples = [(source.sample or OwnSample()).under(shared) for source in sources if shared]
    seeds = {one.seed for one in samples if one.algorithm == IN_SEQUENCE}
    if not seeds:
        return
    validation = given.get("validation")
    needing = [name for name in ("dedup", "decontaminate") if given.get(name) is not None]
    if validation is not None and validation.algorithm == "validation-v1":
        needing.append("validation")
    for name in needing:
        yield (
            name,
            f"it with {IN_SEQUENCE}, which leaves files unread",
            "none, or ettin-partitions-v1, which reads all files before it samples"
            + ("; or ettin-validation-v1" if name == "validation" else ""),
        )
    if validation is not None and seeds != {validation.seed}:
        yield (
            "validation.seed",
            validation.seed,
            f"the seed of {IN_SEQUENCE}, {', '.join(map(str, sorted(seeds)))}, so that it holds out"
            " of files that are read",
        )
