"""Bias: which pronoun a model expects of somebody of an occupation.

A template names an occupation and another participant, and has one slot for a pronoun. It is filled
with those of three genders, and each sentence is scored as a whole, so encoders and decoders answer
one question. A share is the probability of a gender among the three.

Source of the form: Rudinger et al., "Gender Bias in Coreference Resolution", NAACL 2018 (WinoGender
schemas), whose `templates.tsv` can be read too. The sentences beside this module are our own.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from pipeline.core.errors import InputError
from pipeline.core.progress import ReportProgress, no_progress
from pipeline.train.evaluation.bootstrap import interval
from pipeline.train.evaluation.line_records import read_lines, text_lines
from pipeline.train.evaluation.opened_models import OpenedModel
from pipeline.train.evaluation.sentence_scores import sentence_scores

SHIPPED_TEMPLATES: Final = Path(__file__).with_name("bias.jsonl")
GENDERS: Final = ("male", "female", "neutral")
_PRONOUNS: Final = {
    "{nominative}": ("he", "she", "they"),
    "{accusative}": ("him", "her", "them"),
    "{possessive}": ("his", "her", "their"),
}
_VERB: Final = re.compile(r"\{(\w+)\|(\w+)\}")
_WINOGENDER: Final = {"NOM": "{nominative}", "ACC": "{accusative}", "POSS": "{possessive}"}
_PLURALS: Final = {"was": "were", "is": "are", "has": "have", "does": "do"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Template:
    occupation: str
    participant: str
    answer: Literal["occupation", "participant"]
    """Which of the two the pronoun stands for."""
    sentence: str
    """With one slot such as {nominative}, and {was|were} where they needs another verb."""

    def __post_init__(self) -> None:
        slots = re.findall(r"\{[^}]*\}", _VERB.sub("", self.sentence))
        if len(slots) != 1 or slots[0] not in _PRONOUNS:
            raise ValueError(
                f"got the slots {' '.join(slots) or 'none'}, expected one of {' '.join(_PRONOUNS)}"
            )

    def filled(self) -> list[str]:
        """Return the sentence for each of the genders."""
        (slot,) = (one for one in _PRONOUNS if one in self.sentence)
        sentences = []
        for gender, pronoun in zip(GENDERS, _PRONOUNS[slot], strict=True):
            number = r"\2" if gender == "neutral" else r"\1"
            text = _VERB.sub(number, self.sentence).replace(slot, pronoun)
            sentences.append(text[0].upper() + text[1:])
        return sentences


def read_templates(path: Path = SHIPPED_TEMPLATES) -> list[Template]:
    """Read templates, or the `templates.tsv` of WinoGender. Raises: as `read_lines`."""
    if path.suffix != ".tsv":
        return read_lines(Template, path)
    _, *lines = text_lines(path)
    if not lines:
        raise InputError(f"{path}: got a heading alone, expected lines of templates below it")
    return [_from_winogender(where, line) for where, line in lines]


def _from_winogender(where: str, line: str) -> Template:
    columns = line.split("\t")
    if len(columns) != 4:
        raise InputError(
            f"{where}: got {len(columns)} columns, expected occupation, participant, answer,"
            " sentence"
        )
    occupation, participant, answer, sentence = columns
    sentence = sentence.replace("$OCCUPATION", occupation).replace("$PARTICIPANT", participant)
    sentence = re.sub(r"\$(NOM|ACC|POSS)_PRONOUN", lambda found: _WINOGENDER[found[1]], sentence)
    try:
        return Template(
            occupation=occupation,
            participant=participant,
            answer=_answer(answer),
            sentence=re.sub(r"(?<=\{nominative\} )\w*s\b", _both_numbers, sentence),
        )
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error


def _answer(number: str) -> Literal["occupation", "participant"]:
    if number not in ("0", "1"):
        raise ValueError(f"answer: got {number!r}, expected 0, the occupation, or 1")
    return "participant" if number == "1" else "occupation"


def _both_numbers(verb: re.Match[str]) -> str:
    return f"{{{verb[0]}|{_PLURALS.get(verb[0], verb[0][:-1])}}}"


def bias(
    opened: OpenedModel, templates: Sequence[Template], report: ReportProgress = no_progress
) -> dict[str, Any]:
    """Return the mean share of each gender, and of how many sentences it is the likeliest.

    `by_occupation` has the shares where the pronoun stands for the occupation.

    Raises: as `sentence_scores`.
    """
    texts = [text for one in templates for text in one.filled()]
    scores = sentence_scores(opened, texts, report).reshape(-1, len(GENDERS))
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares = odds / odds.sum(axis=1, keepdims=True)
    likeliest = shares.argmax(axis=1)
    by_occupation = {
        name: dict(zip(GENDERS, shares[rows].mean(axis=0).tolist(), strict=True))
        for name, rows in _rows_by_occupation(templates).items()
    }
    return {
        "num_sentences": len(templates),
        "by_gender": {
            gender: {
                **interval(shares[:, at], "share"),
                "share": float(shares[:, at].mean()),
                "preferred": float((likeliest == at).mean()),
            }
            for at, gender in enumerate(GENDERS)
        },
        "by_occupation": by_occupation,
    }


def _rows_by_occupation(templates: Sequence[Template]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for row, one in enumerate(templates):
        if one.answer == "occupation":
            rows.setdefault(one.occupation, []).append(row)
    return dict(sorted(rows.items()))
