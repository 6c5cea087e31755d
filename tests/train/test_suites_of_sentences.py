"""Suites of sentences: the files that ship are what they claim, and answers are as declared."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.arrays import Int64Array
from pipeline.core.errors import InputError
from pipeline.train.evaluation import bias as biases
from pipeline.train.evaluation import minimal_pairs as pairs_module
from pipeline.train.evaluation.bias import GENDERS, Template, bias, read_templates
from pipeline.train.evaluation.minimal_pairs import MinimalPair, minimal_pairs, read_pairs
from pipeline.train.evaluation.row_losses import embedded_tokenizer

NO_MODEL: Any = None
"""Scores are given."""


def test_the_pairs_that_ship_differ_little_and_none_comes_twice() -> None:
    pairs = read_pairs()
    by_phenomenon = Counter(one.phenomenon for one in pairs)
    assert len(by_phenomenon) == 12
    assert {*by_phenomenon.values()} == {52}
    sentences = [text for one in pairs for text in (one.good, one.bad)]
    assert len({*sentences}) == 2 * len(pairs)
    for text in sentences:
        assert text.isascii()
        assert re.fullmatch(r"[A-Z].*[.?]", text), text
        assert "  " not in text
        assert len(text.split()) <= 16, text
    for one in pairs:
        good, bad = one.good.split(), one.bad.split()
        matches = SequenceMatcher(None, good, bad).get_matching_blocks()
        same = sum(block.size for block in matches)
        assert max(len(good), len(bad)) - same <= 3, one


def test_the_shorter_sentence_is_right_as_often_as_the_guide_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lengths(texts: Sequence[str]) -> Int64Array:
        return np.asarray(embedded_tokenizer().encode(texts).lengths(), np.int64)

    pairs = read_pairs()
    good, bad = (lengths([getattr(one, side) for one in pairs]) for side in ("good", "bad"))
    assert int((good != bad).sum()) == 111
    monkeypatch.setattr(pairs_module, "sentence_scores", lambda _, texts, report: -lengths(texts))
    found = minimal_pairs(NO_MODEL, pairs)
    of = [found["by_phenomenon"][name] for name in ("irregular-past", "negative-polarity")]
    assert [f"{one['accuracy']:.0%}" for one in (found, *of)] == ["52%", "80%", "33%"]


def test_the_templates_that_ship_fill_to_sentences_that_differ_in_pronoun_and_verb() -> None:
    templates = read_templates()
    assert len(templates) >= 120
    assert len({one.occupation for one in templates}) >= 40
    assert len({one.sentence for one in templates}) == len(templates)
    slots = Counter(re.findall(r"nominative|accusative|possessive", " ".join(
        one.sentence for one in templates)))  # fmt: skip
    assert slots.total() == len(templates)
    assert len(slots) == 3
    for one in templates:
        assert f" {one.occupation}" in one.sentence
        assert f" {one.participant}" in one.sentence
        texts = [text.replace(",", "").split() for text in one.filled()]
        assert not set("{}|$") & {*"".join(one.filled())}
        male, female, neutral = texts
        assert sum(a != b for a, b in zip(male, female, strict=True)) == 1
        assert sum(a != b for a, b in zip(male, neutral, strict=True)) <= 2
        # Singular they takes a plural verb.
        after = [b for a, b in pairwise(neutral) if a == "they"]
        assert not {*after} & {"was", "is", "has", "does"}


def test_accuracy_is_the_mean_of_phenomena_and_a_tie_counts_half(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores = {"a": -1.0, "b": -2.0, "c": -2.0, "d": -3.0}
    monkeypatch.setattr(
        pairs_module,
        "sentence_scores",
        lambda _, texts, report: np.array([scores[one] for one in texts]),
    )
    pairs = [
        MinimalPair(phenomenon=name, good=good, bad=bad)
        for name, good, bad in [("x", "a", "b"), ("x", "b", "a"), ("x", "a", "d"), ("y", "b", "c")]
    ]
    assert minimal_pairs(NO_MODEL, pairs) == {
        "accuracy": (2 / 3 + 1 / 2) / 2,
        "num_pairs": 4,
        "by_phenomenon": {
            "x": {"accuracy": 2 / 3, "num_pairs": 3},
            "y": {"accuracy": 0.5, "num_pairs": 1},
        },
    }


def test_shares_are_probabilities_among_the_three(monkeypatch: pytest.MonkeyPatch) -> None:
    likely = {"he": 0.6, "she": 0.3, "they": 0.1, "him": 0.2, "her": 0.7, "them": 0.1}

    def scores(_: object, texts: list[str], report: object) -> object:
        # As if of one long sentence: what is common to all three says nothing.
        return np.array([np.log(likely[text.split()[3].strip(".")]) - 900 for text in texts])

    monkeypatch.setattr(biases, "sentence_scores", scores)
    templates = [
        Template(occupation="smith", participant="groom", answer=answer, sentence=sentence)
        for answer, sentence in [
            ("occupation", "The smith says {nominative} {knows|know} the groom."),
            ("participant", "The smith knows {accusative}."),
        ]
    ]
    found = bias(NO_MODEL, templates)
    assert [found["by_gender"][one]["share"] for one in GENDERS] == pytest.approx([0.4, 0.5, 0.1])
    assert [found["by_gender"][one]["preferred"] for one in GENDERS] == [0.5, 0.5, 0]
    assert found["by_gender"]["male"]["low"] == pytest.approx(0.2)
    assert [*found["by_occupation"]["smith"].values()] == pytest.approx([0.6, 0.3, 0.1])
    assert bias(NO_MODEL, templates[:1])["by_gender"]["male"]["low"] is None


def test_files_of_others_are_read(tmp_path: Path) -> None:
    blimp = tmp_path / "blimp.jsonl"
    line = {"sentence_good": "Good.", "sentence_bad": "Bad.", "field": "syntax", "UID": "island"}
    blimp.write_text(json.dumps(line) + "\n\n")
    assert read_pairs(blimp) == [MinimalPair(phenomenon="island", good="Good.", bad="Bad.")]
    schemas = tmp_path / "templates.tsv"
    schemas.write_text(
        "occupation(0)\tother-participant(1)\tanswer\tsentence\n"
        "smith\tgroom\t1\t$NOM_PRONOUN was late, so the $OCCUPATION left the $PARTICIPANT.\n"
        "smith\tgroom\t0\tThe $OCCUPATION gave the $PARTICIPANT $POSS_PRONOUN hammer.\n"
    )
    first, second = read_templates(schemas)
    assert (first.answer, second.answer) == ("participant", "occupation")
    assert first.filled() == [
        f"{start} late, so the smith left the groom."
        for start in ("He was", "She was", "They were")
    ]
    assert second.filled()[1] == "The smith gave the groom her hammer."
    schemas.write_text("occupation(0)\tother-participant(1)\tanswer\tsentence\n")
    with pytest.raises(InputError, match="got a heading alone, expected lines of templates"):
        read_templates(schemas)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.jsonl", '{"good": "A."}', r"a.jsonl:1: .*phenomenon: got nothing, expected"),
        ("a.jsonl", '{"phenomenon": "x", "good": "A.", "bad": 3}', r"a.jsonl:1: .*bad: got 3, exp"),
        ("a.jsonl", "\n{", r"a.jsonl:2: "),
        ("a.jsonl", "\n", r"a.jsonl: got no lines, expected one or more"),
        ("a.jsonl", None, r"a.jsonl: got .*No such file"),
        ("a.jsonl", '{"sentence_good": "A."}', r"a.jsonl:1: .*phenomenon: got nothing"),
    ],
)
def test_bad_pairs_are_refused_with_their_line(
    tmp_path: Path, name: str, text: str | None, expected: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=expected):
        read_pairs(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "line", "expected"),
    [
        ("a.jsonl", {"sentence": "A smith."}, "got the slots none, expected one of {nominative}"),
        ("a.jsonl", {"sentence": "{accusative} {possessive}"}, "got the slots {accusative} {poss"),
        ("a.jsonl", {"sentence": "A {he}."}, "got the slots {he}, expected one of"),
        ("a.jsonl", {"answer": "smith"}, 'answer: got "smith", expected'),
        ("a.tsv", "head\na\tb\t1", "got 3 columns, expected occupation, participant"),
        ("a.tsv", "head\na\tb\t1\tA smith.", "got the slots none"),
        ("a.tsv", "head\na\tb\tx\t$NOM_PRONOUN left.", "answer: got 'x', expected 0, the occ"),
    ],
)
def test_bad_templates_are_refused_with_their_line(
    tmp_path: Path, name: str, line: dict[str, str] | str, expected: str
) -> None:
    whole = {"occupation": "smith", "participant": "groom", "answer": "occupation",
             "sentence": "The smith left {accusative}."}  # fmt: skip
    text = line if isinstance(line, str) else json.dumps(whole | line)
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=rf"{name}:\d: .*{re.escape(expected)}"):
        read_templates(tmp_path / name)
