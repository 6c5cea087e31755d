"""Decontaminate: count the n-grams of words that documents share with evaluation texts.

A text shorter than an n-gram is one n-gram of all its words and
matches only a document of exactly these words, since three words in a row are in every corpus.

Source: the practice of datatrove 0.10.1, `pipeline/decont/n_grams.py`; what differs is in
`docs/spec/dedup.md`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.core.arrays import Int64Array, Uint32Array, Uint64Array
from pipeline.core.compiled import compiled
from pipeline.core.files import load_array, publish, save_array
from pipeline.stages.dedup.ngrams import Hashes, hash_ngrams, hash_words
from pipeline.stages.text_digest import normalise

ALGORITHM: Final = "ngrams-v1"

_TEXTS_AT_ONCE: Final = 1024
# At most one slot in four is filled, so that most lookups take one probe.
_SLOTS_EACH: Final = 4
_EMPTY = np.uint64(0)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EvaluationTexts:
    """The n-grams of all evaluation texts."""

    ngrams: Uint64Array
    """uint64 [num_ngrams], their distinct hashes, rising."""
    num_texts: int
    num_short: int
    """Texts with fewer words than an n-gram, which match whole documents only."""
    num_wordless: int
    """Texts without words, which match nothing; not counted as short."""


def read_evaluation(texts: Iterable[str], ngram_words: int) -> EvaluationTexts:
    """Return the n-grams of evaluation texts, whatever their order. Pure."""
    parts = [np.empty(0, np.uint64)]
    num_texts = num_short = num_wordless = 0
    rest = iter(texts)
    while block := list(islice(rest, _TEXTS_AT_ONCE)):
        words = hash_words([normalise(text) for text in block])
        counts = words.lengths()
        num_texts += len(block)
        num_short += int(((counts > 0) & (counts < ngram_words)).sum())
        num_wordless += int((counts == 0).sum())
        parts.append(np.unique(hash_ngrams(words, ngram_words).values))
    return EvaluationTexts(
        ngrams=np.unique(np.concatenate(parts)),
        num_texts=num_texts,
        num_short=num_short,
        num_wordless=num_wordless,
    )


def save_ngrams(path: Path, scratch: Path, evaluation: EvaluationTexts) -> None:
    """Publish the hashes of n-grams for the tasks that look them up."""
    with publish(path, scratch) as temporary:
        save_array(temporary, evaluation.ngrams)


class Contamination:
    """A hash table of evaluation n-grams."""

    def __init__(self, ngrams: Uint64Array, ngram_words: int) -> None:
        self.ngram_words = ngram_words
        # A power of two with empty slots, so that every lookup ends.
        num_slots = 1 << max(_SLOTS_EACH * len(ngrams), 2).bit_length()
        self._slots = np.zeros(num_slots, np.uint64)
        _fill(self._slots, np.array(ngrams, np.uint64))

    @classmethod
    def load(cls, path: Path, ngram_words: int) -> "Contamination":
        """Load what `save_ngrams` wrote."""
        return cls(load_array(path), ngram_words)

    def count_shared(self, words: Hashes) -> Uint32Array:
        """Return how many n-grams of each text are in an evaluation: uint32 [num_texts]."""
        ngrams = hash_ngrams(words, self.ngram_words)
        counts = np.zeros(len(words), np.uint32)
        _count(self._slots, ngrams.values, ngrams.offsets, counts)
        return counts


@compiled
def _fill(slots: Uint64Array, ngrams: Uint64Array) -> None:
    last = np.uint64(slots.size - 1)
    for ngram in ngrams:
        slot = ngram & last
        while slots[slot] != _EMPTY:
            slot = (slot + np.uint64(1)) & last
        slots[slot] = ngram


@compiled
def _count(
    slots: Uint64Array, ngrams: Uint64Array, offsets: Int64Array, counts: Uint32Array
) -> None:
    last = np.uint64(slots.size - 1)
    for text in range(counts.size):
        for position in range(offsets[text], offsets[text + 1]):
            ngram = ngrams[position]
            slot = ngram & last
            while slots[slot] != _EMPTY and slots[slot] != ngram:
                slot = (slot + np.uint64(1)) & last
            counts[text] += slots[slot] == ngram
