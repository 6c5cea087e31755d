"""Scores of sentences are those of a plain loop over the logits of `transformers`."""

import numpy as np
import pytest
import torch
from support.models import CLS, MASK, SEP, stock, tiny

from pipeline.config.recipe import ModelKind
from pipeline.core.errors import InputError
from pipeline.stages.tokenizer import EMBEDDED, load_tokenizer
from pipeline.train.evaluation.opened_models import OpenedModel
from pipeline.train.evaluation.sentence_scores import sentence_scores
from pipeline.train.models import make_model

TEXTS = [
    "The boats left before the fog did.",
    "Antidisestablishmentarianism, they say, isn't unquestionable.",
    "No",
    "été à Überlingen: 12,345 naïve “quotes”",
    "An old sailor " + "who had seen it all, twice, in 1987 " * 6 + "laughed.",
    "!?",
]


def opened(kind: ModelKind) -> OpenedModel:
    model = make_model(tiny(kind), seed=5).eval()
    return OpenedModel(name="tiny", kind=kind, model=model, max_seq_len=512)


def words_of(text: str) -> tuple[list[int], list[int | None]]:
    """Return the ids of a text, and for each the pre-token that `tokenizers` says it is of."""
    tokenizer = load_tokenizer(EMBEDDED, add_prefix_space=False)
    encoding = tokenizer._reference.encode(text)
    return encoding.ids, encoding.word_ids


@torch.no_grad()
def score_of(plain: torch.nn.Module, kind: ModelKind, text: str) -> float:
    ids, words = words_of(text)
    assert (ids[0], ids[-1]) == (CLS, SEP)
    total = 0.0
    for at in range(1, len(ids) - 1):
        asked = list(ids)
        if kind == "encoder":
            asked = [MASK if after >= at and word is not None and word == words[at] else id_
                     for after, (id_, word) in enumerate(zip(ids, words, strict=True))]  # fmt: skip
        place = at - 1 if kind == "decoder" else at
        logits = plain(input_ids=torch.tensor([asked])).logits[0, place].double()
        total += float(torch.log_softmax(logits, -1)[ids[at]])
    return total


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_scores_are_those_of_a_plain_loop(kind: ModelKind) -> None:
    made = opened(kind)
    found = sentence_scores(made, TEXTS)
    assert found.dtype == np.float64
    plain = stock(made.model, tiny(kind))
    assert found.tolist() == pytest.approx(
        [score_of(plain, kind, text) for text in TEXTS], rel=2e-6
    )
    # Whatever is beside it.
    assert sentence_scores(made, TEXTS[1:2]) == pytest.approx(found[1:2], rel=1e-5)
    assert sentence_scores(made, []).tolist() == []


def test_the_rest_of_a_word_does_not_give_its_beginning_away() -> None:
    """Else a word of many tokens is likelier than the same without the end."""
    made = opened("encoder")
    ids, words = words_of(TEXTS[1])
    assert max(words.count(word) for word in set(words)) > 3
    plain = stock(made.model, tiny("encoder"))
    (found,) = sentence_scores(made, TEXTS[1:2])
    with torch.no_grad():
        one_by_one = 0.0
        for at in range(1, len(ids) - 1):
            asked = torch.tensor([[*ids[:at], MASK, *ids[at + 1 :]]])
            one_by_one += float(
                torch.log_softmax(plain(input_ids=asked).logits[0, at], -1)[ids[at]]
            )
    assert abs(found - one_by_one) > 1e-3


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_what_cannot_be_scored_is_refused_in_words(kind: ModelKind) -> None:
    made = opened(kind)
    with pytest.raises(InputError, match=r"'': got a text without tokens, expected words"):
        sentence_scores(made, ["A text.", ""])
    with pytest.raises(InputError, match=r"got 9\d\d tokens, expected at most 512, the length"):
        sentence_scores(made, ["word " * 900])
