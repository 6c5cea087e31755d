"""Corpus: what a mixture may ask of all documents together, before or after they are cut.

Duplicates and contamination are dropped before; whole documents are set aside for validation after.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from pipeline.config.fields import Section, key
from pipeline.config.text_types import GLOB, LARGEST_SEED, LINE
from pipeline.config.value_types import Choice, Flag, Nullable, OneOrMany, Ratio, Whole


@dataclass(frozen=True, kw_only=True, slots=True)
class MinHashSpec:
    """Which documents count as nearly the same."""

    algorithm: Literal["minhash-v1"] = field(
        default="minhash-v1",
        metadata=key(Choice("minhash-v1"), "Named and frozen way to find near duplicates."),
    )
    ngram_words: int = field(
        default=5, metadata=key(Whole(1, 100), "Words of a shingle, of which the sets are made.")
    )
    num_bands: int = field(
        default=14, metadata=key(Whole(1, 1000), "Bands, of which one that agrees makes a pair.")
    )
    rows_per_band: int = field(
        default=8, metadata=key(Whole(1, 1000), "Hashes that must all agree in a band.")
    )
    seed: int = field(default=1, metadata=key(Whole(0, LARGEST_SEED), "Seed of the hashes."))


@dataclass(frozen=True, kw_only=True, slots=True)
class DedupSpec:
    """Which documents are dropped because others say the same."""

    scope: Literal["mixture", "source"] = field(
        default="mixture",
        metadata=key(
            Choice("mixture", "source"), "Whether sources are compared with each other, or not."
        ),
    )
    exact: bool = field(
        default=True,
        metadata=key(
            Flag(),
            "Whether texts that differ in white space and composed letters alone count as one.",
        ),
    )
    minhash: MinHashSpec | None = field(
        default=None,
        metadata=key(Nullable(Section(MinHashSpec)), "Whether near duplicates count as one, too."),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class DecontaminateSpec:
    """Which documents are dropped because they hold texts of an evaluation."""

    algorithm: Literal["ngrams-v1"] = field(
        default="ngrams-v1",
        metadata=key(Choice("ngrams-v1"), "Named and frozen way to find texts in others."),
    )
    path: tuple[str, ...] = field(
        metadata=key(OneOrMany(GLOB), "Glob of files of evaluation texts, relative to this file.")
    )
    text: str = field(
        default="text", metadata=key(LINE, "Name of the field that holds an evaluation's text.")
    )
    ngram_words: int = field(
        default=13, metadata=key(Whole(1, 100), "Words in a row that a document must not share.")
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", tuple(sorted(set(self.path))))


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationSpec:
    """Which whole documents are set aside for validation."""

    algorithm: Literal["validation-v1"] = field(
        default="validation-v1",
        metadata=key(Choice("validation-v1"), "Named and frozen way to choose documents."),
    )
    fraction: Fraction = field(
        default=Fraction(1, 1000),
        metadata=key(Ratio(largest=1), "Part of each source's tokens, such as 0.001 or 1/1000."),
    )
    seed: int = field(
        default=0, metadata=key(Whole(0, LARGEST_SEED), "Seed of the choice of documents.")
    )
