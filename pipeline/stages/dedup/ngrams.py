"""N-grams: texts in the form `text-v1` -> 64-bit hashes of their words, and of n words in a row.

`words-v1`, frozen: a word is a run of letters and numbers of Unicode 14.0. Case and accents are
ignored, and all numbers are equal, so that dates and counters do not distinguish pages. A letter of
a script without spaces is a word of its own. Compiled functions check no bounds.

Source: the simplification is that of datatrove 0.10.1, `utils/text.py`, `simplify_text`; its tables
come from libraries that change, so the tokenizer's frozen tables replace them.
"""

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np

from pipeline.core.arrays import Int64Array, Uint32Array, Uint64Array
from pipeline.core.compiled import compiled, inlined
from pipeline.core.ragged import Ragged, offsets_of
from pipeline.core.seeds import GAMMA, mix
from pipeline.stages.tokenizer.char_classes import LETTER, NUM_CODE_POINTS, NUMBER, ranges

ALGORITHM: Final = "words-v1"

# Values of `_fold`; above IGNORED, the letter that a code point folds to.
_SEPARATOR, _NUMBERS, _IGNORED = 0, 1, 2
_IS_WORD = 1 << 31
# Thai and Lao; Burmese; Khmer; kana; ideographs.
_WITHOUT_SPACES = (
    *((0x0E00, 0x0F00), (0x1000, 0x10A0), (0x1780, 0x1800), (0x3040, 0x3100), (0x31F0, 0x3200)),
    *((0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, 0x32400)),
)
# An odd number without a pattern.
_BASE = GAMMA


Hashes = Ragged[np.uint64]
"""Hashes of the words or n-grams of each text; none is 0."""


def hash_words(normal: Sequence[str]) -> Hashes:
    """Return the hashes of the words of texts in the form `text-v1`. Pure."""
    code_points = np.frombuffer("".join(normal).encode("utf-32-le"), np.uint32)
    offsets = offsets_of(list(map(len, normal)))
    assert offsets[-1] == len(code_points)
    values = np.empty(len(code_points), np.uint64)
    ends = np.zeros(len(normal) + 1, np.int64)
    _hash_words(code_points.copy(), offsets, _fold(), values, ends)
    return Hashes(values=values[: ends[-1]], offsets=ends)


def hash_ngrams(words: Hashes, num_words: int) -> Hashes:
    """Return the hashes of every `num_words` words in a row. Pure.

    A shorter text is one n-gram of all its words; a text without words has none.
    """
    assert num_words >= 1
    values = np.empty(len(words.values), np.uint64)
    ends = np.zeros(len(words.offsets), np.int64)
    _hash_ngrams(words.values, words.offsets, num_words, values, ends)
    return Hashes(values=values[: ends[-1]], offsets=ends)


@cache
def _fold() -> Uint32Array:
    """Return the role of each code point in a word: uint32 [NUM_CODE_POINTS].

    Case folding and decomposition of assigned code points never change.
    Source: unicode.org/policies/stability_policy.html.
    """
    table = np.full(NUM_CODE_POINTS, _SEPARATOR, np.uint32)
    for start, stop, entry in ranges():
        kind, order = entry & 3, entry >> 2
        if kind == NUMBER:
            table[start:stop] = _NUMBERS
        elif kind == LETTER:
            table[start:stop] = [ord(_folded(chr(letter))) for letter in range(start, stop)]
        elif order:
            table[start:stop] = _IGNORED
    for start, stop in _WITHOUT_SPACES:
        part = table[start:stop]
        part[part > _IGNORED] |= _IS_WORD
    return table


def _folded(letter: str) -> str:
    """Return a letter without accents, case-folded unless that gives several letters."""
    parts = unicodedata.normalize("NFD", letter)
    bare = parts[0] if all(map(unicodedata.combining, parts[1:])) else letter
    return folded if len(folded := bare.casefold()) == 1 else bare


@inlined
def _hash(value: np.uint64) -> np.uint64:
    # In lookup tables 0 marks an empty slot.
    return max(mix(value), np.uint64(1))


@compiled
def _hash_words(
    code_points: Uint32Array,
    offsets: Int64Array,
    fold: Uint32Array,
    values: Uint64Array,
    ends: Int64Array,
) -> None:
    """Fill `values` with the hashes of words, and `ends[1:]` with where each text ends."""
    num_words = 0
    for text in range(offsets.size - 1):
        state = np.uint64(0)
        is_open = is_number = False
        for position in range(offsets[text], offsets[text + 1]):
            folded = fold[code_points[position]]
            if folded == _IGNORED:
                continue
            is_word = folded >= _IS_WORD
            if is_open and (folded == _SEPARATOR or is_word):
                values[num_words] = _hash(state)
                num_words += 1
                state = np.uint64(0)
                is_open = is_number = False
            if folded == _SEPARATOR or (folded == _NUMBERS and is_number):
                continue
            state = (state ^ np.uint64(folded)) * _BASE
            state ^= state >> np.uint64(32)
            if is_word:
                values[num_words] = _hash(state)
                num_words += 1
                state = np.uint64(0)
            else:
                is_open = True
                is_number = folded == _NUMBERS
        if is_open:
            values[num_words] = _hash(state)
            num_words += 1
        ends[text + 1] = num_words


@compiled
def _hash_ngrams(
    words: Uint64Array, offsets: Int64Array, num_words: int, values: Uint64Array, ends: Int64Array
) -> None:
    """Hash a rolling window of words as the digits of a number in base `_BASE`."""
    power = np.uint64(1)
    for _ in range(num_words):
        power *= _BASE
    num_ngrams = 0
    for text in range(offsets.size - 1):
        start, stop = offsets[text], offsets[text + 1]
        window = np.uint64(0)
        for position in range(start, stop):
            window = window * _BASE + words[position]
            if position - start >= num_words:
                window -= words[position - num_words] * power
            if position - start >= num_words - 1 or position == stop - 1:
                values[num_ngrams] = _hash(window)
                num_ngrams += 1
        ends[text + 1] = num_ngrams
