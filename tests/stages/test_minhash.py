import math
import random
from collections import defaultdict
from collections.abc import Hashable, Sequence
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from datatrove.pipeline.dedup import MinhashConfig, MinhashDedupSignature
from datatrove.utils.hashing import HashConfig
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.config.mixture import MinHashSpec
from pipeline.core.arrays import Uint64Array
from pipeline.core.seeds import derive_key, random_numbers
from pipeline.stages.dedup.minhash import NO_KEY, band_keys
from pipeline.stages.dedup.ngrams import Hashes, hash_ngrams, hash_words
from pipeline.stages.text_digest import normalise

MASK = 2**64 - 1
shingle_sets = st.lists(st.lists(st.integers(1, MASK), max_size=20), min_size=1, max_size=4)


def hashes(sets: list[list[int]]) -> Hashes:
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in sets])])
    values = np.array([value for one in sets for value in one], np.uint64)
    return Hashes(values=values, offsets=offsets.astype(np.int64))


def mix(value: int) -> int:
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & MASK
    return value ^ (value >> 31)


def keys_of(shingles: list[int], spec: MinHashSpec) -> list[int]:
    """Make the keys of one text by the rule as documented, in whole numbers."""
    if not shingles:
        return [NO_KEY] * spec.num_bands
    num_rows = spec.num_bands * spec.rows_per_band
    drawn = random_numbers(derive_key(spec.seed, "minhash-v1"), 2 * num_rows).tolist()
    signature = [
        min(((a * (shingle >> 32) + b) & MASK) >> 32 for shingle in shingles)
        for a, b in zip(drawn[:num_rows], drawn[num_rows:], strict=True)
    ]
    keys = []
    for start in range(0, num_rows, spec.rows_per_band):
        state = 0
        for row in signature[start : start + spec.rows_per_band]:
            state = mix(state ^ row)
        keys.append(max(state, 1))
    return keys


@QUICK
@given(
    sets=shingle_sets,
    spec=st.builds(
        MinHashSpec,
        num_bands=st.integers(1, 5),
        rows_per_band=st.integers(1, 9),
        seed=st.integers(0, 3),
    ),
)
def test_keys_are_those_of_the_rule(sets: list[list[int]], spec: MinHashSpec) -> None:
    assert band_keys(hashes(sets), spec).tolist() == [keys_of(one, spec) for one in sets]


def test_keys_are_frozen() -> None:
    words = hash_words(["the quick brown fox jumps over the lazy dog", "one two", ""])
    spec = MinHashSpec(num_bands=2)
    assert band_keys(hash_ngrams(words, spec.ngram_words), spec).tolist() == [
        [17876760380356461265, 727889765581765286],
        [2176928668397449425, 11262214961022970661],
        [0, 0],
    ]


@QUICK
@given(shingles=st.lists(st.integers(1, MASK), min_size=1, max_size=20), data=st.data())
def test_keys_are_of_the_set(shingles: list[int], data: st.DataObject) -> None:
    other = data.draw(st.permutations(shingles)) + shingles[:3]
    one, two = band_keys(hashes([shingles, other]), MinHashSpec()).tolist()
    assert one == two


def agreeing(similarity: float, spec: MinHashSpec, num_pairs: int) -> Uint64Array:
    """Return in how many bands each of many pairs of texts of that similarity agrees."""
    size = 100
    num_common = round(2 * size * similarity / (1 + similarity))
    draw = np.random.default_rng(7)
    sets = []
    for _ in range(num_pairs):
        values = draw.integers(1, MASK, 2 * size - num_common, np.uint64)
        sets += [values[:size].tolist(), values[size - num_common :].tolist()]
    keys = band_keys(hashes(sets), spec)
    return (keys[::2] == keys[1::2]).sum(axis=1)


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.8, 0.9])
def test_pairs_are_found_as_often_as_the_curve_says(similarity: float) -> None:
    spec, num_pairs = MinHashSpec(), 3000
    num_common = round(200 * similarity / (1 + similarity))
    exact = num_common / (200 - num_common)
    expected = 1 - (1 - exact**spec.rows_per_band) ** spec.num_bands
    found = float((agreeing(similarity, spec, num_pairs) > 0).mean())
    # Four times the spread of a share of so many pairs.
    assert abs(found - expected) < 4 * math.sqrt(expected * (1 - expected) / num_pairs)


def test_bands_agree_independently() -> None:
    spec = MinHashSpec(num_bands=50, rows_per_band=2)
    agree = agreeing(0.6, spec, 2000)
    common = 75 / 125
    share = common**2
    assert abs(float(agree.mean()) - 50 * share) < 0.6
    assert abs(float(agree.var()) / (50 * share * (1 - share)) - 1) < 0.25


def variants(num_texts: int) -> list[str]:
    """Make texts of 60 words, each with five more that lose a growing part of the words."""
    draw = random.Random(5)
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = ["".join(draw.choices(letters, k=6)) for _ in range(2000)]
    texts = []
    for _ in range(num_texts):
        words = draw.choices(vocabulary, k=60)
        for num_changed in range(6):
            changed = set(draw.sample(range(60), num_changed))
            texts.append(" ".join(f"x{w}" if i in changed else w for i, w in enumerate(words)))
    return texts


def pairs(keys: Sequence[Sequence[Hashable]]) -> set[tuple[int, int]]:
    """Return the pairs of texts that agree in some band."""
    by_key: defaultdict[Hashable, list[int]] = defaultdict(list)
    for text, bands in enumerate(keys):
        for band, value in enumerate(bands):
            by_key[band, value].append(text)
    return {pair for texts in by_key.values() for pair in combinations(texts, 2)}


def datatrove(folder: Path) -> MinhashDedupSignature:
    """Return datatrove's block, with words split at white space."""
    pytest.importorskip("spacy", reason="datatrove asks for it, used or not")
    # Not xxHash: 0.10.1 gives text to it, which xxhash 4 refuses.
    config = MinhashConfig(hash_config=HashConfig(hash_fc="sha1"))
    step = MinhashDedupSignature(str(folder), config)
    step.word_tokenizer = SimpleNamespace(word_tokenize=str.split)
    return step


def test_datatrove_finds_about_the_same_pairs(tmp_path: Path) -> None:
    step = datatrove(tmp_path)
    texts = variants(300)
    theirs = [tuple(map(tuple, step.get_signature(step.get_shingles(text)))) for text in texts]
    spec = MinHashSpec()
    shingles = hash_ngrams(hash_words(texts), spec.ngram_words)
    ours = band_keys(shingles, spec).tolist()
    sets = [set(part.tolist()) for part in np.split(shingles.values, shingles.offsets[1:-1])]
    alike = {
        (one, other)
        for start in range(0, len(texts), 6)
        for one, other in combinations(range(start, start + 6), 2)
        if len(sets[one] & sets[other]) >= 0.7 * len(sets[one] | sets[other])
    }
    found, expected = pairs(ours), pairs(theirs)
    assert len(alike) > 300
    assert len(found) == pytest.approx(len(expected), rel=0.1)
    # Both draw at random: of the pairs that are alike they find the same part, and hardly others.
    recall, their_recall = (len(alike & one) / len(alike) for one in (found, expected))
    assert recall == pytest.approx(their_recall, abs=0.07)
    assert all(one // 6 == other // 6 for one, other in found)


def test_shingles_are_as_many_as_those_of_datatrove(tmp_path: Path) -> None:
    step = datatrove(tmp_path)
    for text in (
        "The Café – it’s OPEN, until 12 May 2024 (or 13)! Naïve, isn’t it?",
        "one two\tthree\n\nfour; five / six [seven] eight",
    ):
        theirs = step.get_shingles(text)
        ours = hash_ngrams(hash_words([normalise(text)]), 5)
        assert len(ours.values) == len(theirs)
