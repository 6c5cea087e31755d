import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.character_classes import UNICODE_VERSION
from support.strategies import QUICK

from pipeline.stages.dedup.ngrams import Hashes, hash_ngrams, hash_words
from pipeline.stages.text_digest import normalise

MASK = 2**64 - 1
BASE = 0x9E3779B97F4A7C15
WITHOUT_SPACES = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U000323ff]"
)
# What NFC may join to the character before it.
JOINED = {
    decomposed[1]
    for decomposed in (unicodedata.normalize("NFD", chr(c)) for c in range(0x110000))
    if len(decomposed) == 2 and len(unicodedata.normalize("NFC", decomposed)) == 1
}
texts = st.text(
    st.sampled_from("abAB ß19.,'ÉéİıΣς中文かกท९½Ⅻ\u0301\u093f\u0378\U0001f600\U0001d400-_\n")
    | st.characters(exclude_categories=["Cs"]),
    max_size=30,
)


def words_of(text: str) -> list[str]:
    """Split a text in normal form by the rule as documented, with Python's own tables."""
    words: list[str] = []
    last = ""
    for character in text:
        category = unicodedata.category(character)
        kind = category[0] if category[0] in "LN" else ""
        if not kind and (unicodedata.combining(character) or character in JOINED):
            continue
        base, *marks = unicodedata.normalize("NFD", character)
        bare = base if all(map(unicodedata.combining, marks)) else character
        folded = bare.casefold() if len(bare.casefold()) == 1 else bare
        if kind == "L" and WITHOUT_SPACES.match(character):
            words.append(folded)
            kind = "word"
        elif kind:
            folded = "\1" if kind == "N" else folded
            if last not in ("L", "N"):
                words.append(folded)
            elif (last, kind) != ("N", "N"):
                words[-1] += folded
        last = kind
    return words


def mix(value: int) -> int:
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & MASK
    return max(value ^ (value >> 31), 1)


def hash_of(word: str) -> int:
    is_alone = len(word) == 1 and WITHOUT_SPACES.match(word)
    state = 0
    for character in word:
        state = (state ^ (ord(character) | (1 << 31 if is_alone else 0))) * BASE & MASK
        state ^= state >> 32
    return mix(state)


def ngrams_of(words: list[str], num_words: int) -> list[int]:
    windows = [words[i : i + num_words] for i in range(max(1, len(words) - num_words + 1))]
    found = []
    for window in windows if words else []:
        value = 0
        for word in window:
            value = (value * BASE + hash_of(word)) & MASK
        found.append(mix(value))
    return found


def lists(hashes: Hashes) -> list[list[int]]:
    return [part.tolist() for part in np.split(hashes.values, hashes.offsets[1:-1])]


def test_words_are_as_told() -> None:
    assert words_of(normalise("It's 3.14, or IT’S 3,15: Éa中文b x2y")) == [
        *("it", "s", "\1", "\1", "or", "it", "s", "\1", "\1"),
        *("ea", "中", "文", "b", "x\1y"),
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The quick, brown fox!", "the QUICK brown fox"),
        ("“curly” – quotes…", '"curly" - quotes...'),
        ("on 12 May 2024", "on 3 May 1999"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
        ("中文 字", "中文字"),
        ("naïve", "naive"),
        ("שָׁלוֹם", "שלום"),
    ],
)
def test_words_do_not_see_case_punctuation_and_numbers(one: str, other: str) -> None:
    assert lists(hash_words([normalise(one)])) == lists(hash_words([normalise(other)]))


@pytest.mark.parametrize(("one", "other"), [("ab c", "a bc"), ("각", "가"), ("a1", "a 1")])
def test_words_see_where_words_end_and_other_letters(one: str, other: str) -> None:
    assert lists(hash_words([normalise(one)])) != lists(hash_words([normalise(other)]))


@QUICK
@given(block=st.lists(texts, min_size=1, max_size=4), num_words=st.integers(1, 6))
def test_hashes_are_those_of_the_rule(block: list[str], num_words: int) -> None:
    if unicodedata.unidata_version != UNICODE_VERSION:
        pytest.skip("this Python knows another version of Unicode")
    normal = [normalise(text) for text in block]
    words = hash_words(normal)
    assert lists(words) == [[*map(hash_of, words_of(text))] for text in normal]
    ngrams = hash_ngrams(words, num_words)
    assert lists(ngrams) == [ngrams_of(words_of(text), num_words) for text in normal]


def test_hashes_are_frozen() -> None:
    words = hash_words(["It's 3.14: Éa中b", "", "a"])
    assert lists(words) == [
        [
            8470197740536581737,
            8565712372050046325,
            18155083703400325672,
            18155083703400325672,
            9942972872226105360,
            10438901162704419380,
            12640528229925718579,
        ],
        [],
        [15013176955481696009],
    ]
    assert lists(hash_ngrams(words, 5)) == [
        [6272355587180225894, 5673472192975307170, 12975245732993220237],
        [],
        [12210950935867143951],
    ]


def test_a_block_of_no_texts_has_no_words() -> None:
    words = hash_words([])
    assert words.offsets.tolist() == [0]
    assert hash_ngrams(words, 3).offsets.tolist() == [0]
