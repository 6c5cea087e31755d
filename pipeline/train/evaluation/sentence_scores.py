"""Scores of sentences: texts or rows -> how likely a model holds each to be, in nats.

A decoder's is the sum of log p(token | all before it), [CLS] the first. An encoder's is the
pseudo-log-likelihood: each token is masked in turn, and with it those after it in its word, which
would give it away. Special tokens are seen, as in training, but not scored.

Source: Salazar et al., "Masked Language Model Scoring", ACL 2020; the rest of a word is masked as
in Kauf and Ivanova, "A Better Way to Do Masked Language Model Scoring", ACL 2023 (PLL-word-l2r).
"""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import BoolArray, Int64Array, Uint32Array
from pipeline.core.errors import InputError
from pipeline.core.progress import ReportProgress, no_progress
from pipeline.core.ragged import Rows
from pipeline.feed import IGNORED, SpecialIds, flat_inputs, view_rows
from pipeline.stages.tokenizer import EMBEDDED, read_special_ids
from pipeline.train.evaluation.opened_models import OpenedModel
from pipeline.train.evaluation.row_losses import (
    ROWS,
    batched,
    embedded_tokenizer,
    losses_in_rows,
)


def sentence_scores(
    opened: OpenedModel, texts: Sequence[str], report: ReportProgress = no_progress
) -> NDArray[np.float64]:
    """Return the log-probability of each text: float64 [num_texts].

    Raises: InputError for a text without tokens, or with more than the model takes.
    """
    special = read_special_ids(EMBEDDED, embedded_tokenizer().data)
    encoded = embedded_tokenizer().encode(texts)
    rows, num_cut = view_rows(encoded, opened.kind, opened.max_seq_len, special)
    for text, ids, cut in zip(texts, rows, num_cut.tolist(), strict=True):
        if cut:
            raise InputError(
                f"{text[:60]!r}…: got {len(ids) + cut:,} tokens, expected at most"
                f" {opened.max_seq_len:,}, the length of {opened.name}"
            )
        if special.is_special[ids].all():
            raise InputError(f"{text!r}: got a text without tokens, expected words")
    return row_scores(opened, rows, special, report)


def row_scores(
    opened: OpenedModel, rows: Rows, special: SpecialIds, report: ReportProgress = no_progress
) -> NDArray[np.float64]:
    """Return the log-probability of rows under the view of the model: float64 [num_rows].

    Raises: as `losses_in_rows`, and InputError for ids that the tokenizer lacks.
    """
    questions = _whole if opened.kind == "decoder" else _masked
    scores = np.zeros(len(rows))
    for numbers, asked, labels in questions(rows, special):
        # An encoder is asked about a row in several batches.
        report("scores", int(numbers[0]), len(rows), ROWS)
        inputs = flat_inputs(asked, numbers, np.zeros(len(asked), np.bool_), None, special)
        found = losses_in_rows(opened, asked, {**inputs, "labels": labels[None]})
        np.subtract.at(scores, numbers[found.rows], found.losses)
    report("scores", len(rows), len(rows), ROWS)
    return scores


_Questions = Iterator[tuple[Int64Array, Rows, Int64Array]]
"""Batches: the row that each question is of, int64 [B]; the questions; labels, int64 [num_ids]."""


def _whole(rows: Rows, special: SpecialIds) -> _Questions:
    for numbers, asked in batched(enumerate(rows)):
        ids = asked.values.astype(np.int64)
        yield numbers, asked, np.where(special.is_special[asked.values], IGNORED, ids)


def _masked(rows: Rows, special: SpecialIds) -> _Questions:
    """Yield a copy of its row for each id that is no special one, masked from it to its word's end.

    A batch is numbered by ids: where each that is asked for lies in `rows`.
    """
    of = np.repeat(np.arange(len(rows)), rows.lengths())
    starts = np.append(_begins_word(rows.values), True).nonzero()[0]
    scored = np.flatnonzero(~special.is_special[rows.values])
    stops = starts[np.searchsorted(starts, scored, side="right")]

    def copies() -> Iterator[tuple[int, Uint32Array]]:
        for at, stop in zip(scored.tolist(), stops.tolist(), strict=True):
            first = rows.offsets[of[at]]
            copy = rows[of[at]].copy()
            copy[at - first : stop - first] = special.mask_id
            yield at, copy

    for places, asked in batched(copies()):
        labels = np.full(len(asked.values), IGNORED, np.int64)
        labels[asked.offsets[:-1] + places - rows.offsets[of[places]]] = rows.values[places]
        yield of[places], asked, labels


def _begins_word(ids: Uint32Array) -> BoolArray:
    """Return which ids begin a word: bool [num_ids].

    A word is a run of letters and digits, with the space before it.
    """
    first, last = _word_ends()
    return np.append(True, ~(last[ids[:-1]] & first[ids[1:]]))


@cache
def _word_ends() -> tuple[BoolArray, BoolArray]:
    """Return whether the first and the last character of each id are of a word: bool [vocab_size].

    A part of a character is.
    """
    pieces = [one.tobytes().decode(errors="replace") for one in embedded_tokenizer().decode_table]
    first, last = (
        [_is_of_word(piece[at]) for piece in pieces] for at in (slice(1), slice(-1, None))
    )
    return np.array(first), np.array(last)


def _is_of_word(character: str) -> bool:
    return character.isalnum() or character == "\N{REPLACEMENT CHARACTER}"
