"""Corpus: what a mixture may ask of all documents together.

Duplicates and contamination are dropped before documents are cut into chunks; whole documents are
held out for validation afterwards.
"""

from fractions import Fraction
from typing import Literal

from pipeline.config.settings import setting, settings
from pipeline.config.value_types import GLOB, LINE, SEED, Integer, Number, OneOrMany


@settings
class MinHashSpec:
    """Which documents count as near duplicates."""

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
    """Which documents are dropped as duplicates."""

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
    """Which documents are dropped because they contain texts of an evaluation."""

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
    """Which whole documents are held out for validation."""

    algorithm: Literal["validation-v1"] = setting(
        "Versioned algorithm that chooses documents.", default="validation-v1"
    )
    fraction: Fraction = setting(
        "Fraction of each source's tokens, such as 0.001 or 1/1000.",
        Number(),
        default=Fraction(1, 1000),
    )
    seed: int = setting("Seed of the choice of documents.", SEED, default=0)
