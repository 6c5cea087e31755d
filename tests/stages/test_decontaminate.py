from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.stages.dedup.decontaminate import Contamination, read_evaluation, save_ngrams
from pipeline.stages.dedup.ngrams import hash_words
from pipeline.stages.text_digest import normalise

texts = st.lists(st.sampled_from("abcd"), max_size=9).map(" ".join)


def count(evaluation: Sequence[str], documents: Sequence[str], ngram_words: int) -> list[int]:
    read = read_evaluation(evaluation, ngram_words)
    contamination = Contamination(read.ngrams, ngram_words)
    return contamination.count_shared(hash_words([*map(normalise, documents)])).tolist()


def windows(text: str, size: int) -> list[tuple[str, ...]]:
    words = text.split()
    return [tuple(words[i : i + size]) for i in range(max(1, len(words) - size + 1)) if words]


@QUICK
@given(
    evaluation=st.lists(texts, max_size=5),
    documents=st.lists(texts, max_size=5),
    ngram_words=st.integers(1, 6),
)
def test_shared_ngrams_are_those_that_sets_of_words_share(
    evaluation: list[str], documents: list[str], ngram_words: int
) -> None:
    known = {window for text in evaluation for window in windows(text, ngram_words)}
    expected = [sum(w in known for w in windows(text, ngram_words)) for text in documents]
    assert count(evaluation, documents, ngram_words) == expected


QUESTION = "What is the name of the river that runs through the middle of London?"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (f"quiz: {QUESTION} The Thames.", 2),
        (f"QUIZ:\n{QUESTION.upper()}", 2),
        ("what is the name of the river that runs through the middle", 0),
        ("the middle of London is what the name of the river that runs through is", 0),
    ],
)
def test_a_document_that_holds_a_question_shares_its_ngrams(document: str, expected: int) -> None:
    assert count([QUESTION], [document], 13) == [expected]


def test_a_short_text_is_found_in_the_very_same_words_alone() -> None:
    documents = ["Yes, it is!", "yes it is so", "well yes it is", "yes it"]
    assert count(["yes it is"], documents, 13) == [1, 0, 0, 0]


def test_texts_that_find_little_or_nothing_are_counted() -> None:
    evaluation = read_evaluation(["?!", "", "a b", "a b c", "a b c d", "a b c d"], 3)
    assert evaluation.num_texts == 6
    assert evaluation.num_wordless == 2
    assert evaluation.num_short == 1
    assert len(evaluation.ngrams) == 3


@QUICK
@given(evaluation=st.lists(texts, max_size=6), data=st.data())
def test_the_order_of_evaluation_texts_changes_nothing(
    evaluation: list[str], data: st.DataObject
) -> None:
    other = data.draw(st.permutations(evaluation))
    assert np.array_equal(
        read_evaluation(evaluation, 3).ngrams, read_evaluation(iter(other), 3).ngrams
    )


def test_many_ngrams_are_all_found_and_others_are_not() -> None:
    # More texts than are read at once.
    evaluation = [f"{a} {b}" for a in map(spelled, range(60)) for b in map(spelled, range(60))]
    documents = [*evaluation, *(f"{a} zz" for a in map(spelled, range(60)))]
    counts = count(evaluation, documents, 2)
    assert counts == [1] * 3600 + [0] * 60


def spelled(number: int) -> str:
    return f"{chr(97 + number // 26)}{chr(97 + number % 26)}"


def test_without_evaluation_texts_nothing_is_shared() -> None:
    assert count([], ["a b c"], 2) == [0]


def test_saved_ngrams_find_the_same(tmp_path: Path) -> None:
    evaluation = read_evaluation([QUESTION], 5)
    save_ngrams(tmp_path / "ngrams.npy", tmp_path / "scratch", evaluation)
    words = hash_words([normalise(QUESTION), "no"])
    loaded = Contamination.load(tmp_path / "ngrams.npy", 5)
    assert loaded.count_shared(words).tolist() == [10, 0]
