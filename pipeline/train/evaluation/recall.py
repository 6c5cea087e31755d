"""Recall: whether a model predicts texts that it has seen better than others it has not.

A model of `num_rows` rows has seen the rows before that one of its order, and none after, nor the
validation split. Rows of both kinds are drawn by named keys; each seen one is paired with an unseen
one of the same source and about the same length. The difference of their losses is how much better
the seen one is predicted: near nothing without memorisation, more for what came often.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pipeline.audit.trace import Trace
from pipeline.core import seeds
from pipeline.core.progress import ReportProgress, no_progress
from pipeline.dataset.provenance import RowProvenance
from pipeline.train.evaluation.bootstrap import interval
from pipeline.train.evaluation.opened_models import OpenedModel
from pipeline.train.evaluation.place import Place
from pipeline.train.evaluation.row_losses import row_losses

TIMES: Final = (1, 2, 10, 100)
"""Least number of times of each group of texts: once, a few times, often, very often."""
_MOST_DRAWN: Final = 2000
_MOST_PAIRS: Final = 256
# Of few masked ids the mean would be rough; these mask three quarters of a text at least once.
_NUM_DRAWS: Final = 8
# Of the longer row, so that a pair has about as much context.
_NEAR: Final = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """A row, and how often its chunk came before the model was saved."""

    place: int
    """0: of the order; 1: of the validation split."""
    row: int
    source: str
    num_tokens: int
    num_times: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    seen: Text
    unseen: Text


def recall(
    opened: OpenedModel,
    num_rows: int,
    places: Sequence[Place],
    report: ReportProgress = no_progress,
) -> dict[str, Any]:
    """Return, by how often texts were seen, how much better than unseen ones they are predicted.

    num_rows: rows of the order that it has seen; places: the order, and the validation split if
    there is one. `difference` is in nats a label, positive where seen texts are predicted better,
    with `low` and `high` of its 95 % interval; None with fewer than two pairs.

    Raises: as `row_losses`.
    """
    seen, unseen = draw_texts(places, num_rows)
    pairs = {}
    for least, most in zip(TIMES, (*TIMES[1:], None), strict=True):
        chosen = [
            one for one in seen if least <= one.num_times and (most is None or one.num_times < most)
        ]
        pairs[_name(least, most)] = pair_texts(chosen, unseen)
    texts = (text for group in pairs.values() for one in group for text in (one.seen, one.unseen))
    means = _means(opened, places, texts, report)
    groups = {}
    for name, group in pairs.items():
        differences = np.array([means[one.unseen] - means[one.seen] for one in group])
        # A row may have no label.
        differences = differences[np.isfinite(differences)]
        groups[name] = {"num_pairs": len(differences), **interval(differences, "difference")}
    return {"num_seen": num_rows, "by_times_seen": groups}


def _name(least: int, most: int | None) -> str:
    if most is None:
        return f"{least}+"
    return f"{least}" if most == least + 1 else f"{least}-{most - 1}"


def _means(
    opened: OpenedModel, places: Sequence[Place], texts: Iterable[Text], report: ReportProgress
) -> dict[Text, float]:
    """Return the mean loss of each text, in nats a label; NaN for one without labels."""
    # Of several groups of seen texts one unseen text may be the pair.
    distinct = [*dict.fromkeys(texts)]
    means: dict[Text, float] = {}
    for number, place in enumerate(places):
        of_place = [one for one in distinct if one.place == number]
        rows = np.array([one.row for one in of_place], np.int64)
        losses = row_losses(opened, place, rows, _NUM_DRAWS, report)
        means |= dict(zip(of_place, losses.means.tolist(), strict=True))
    return means


def draw_texts(places: Sequence[Place], num_rows: int) -> tuple[list[Text], list[Text]]:
    """Return texts that came before a row of the order, each chunk once, and texts that did not.

    Unseen are rows of documents of which no row came before.
    """
    trace = places[0].trace
    seen: dict[tuple[str, str, int], Text] = {}
    for origin in _drawn(trace, "seen", 0, num_rows):
        key = (origin.source, origin.document, origin.chunk)
        if key not in seen:
            rows = trace.document(origin.document, origin.source)
            times = sum(one.chunk == origin.chunk and one.row < num_rows for one in rows)
            seen[key] = _text(0, origin, times)
    unseen = {}
    for origin in _drawn(trace, "unseen", num_rows, trace.positions.num_rows):
        key = (origin.source, origin.document, origin.chunk)
        rows = [] if key in unseen else trace.document(origin.document, origin.source)
        if rows and not any(one.row < num_rows for one in rows):
            unseen[key] = _text(0, origin, 0)
    held_out = [
        _text(1, origin, 0)
        for place in places[1:]
        for origin in _drawn(place.trace, "held-out", 0, place.trace.positions.num_rows)
    ]
    return [*seen.values()], [*unseen.values(), *held_out]


def _drawn(trace: Trace, label: str, start: int, stop: int) -> Sequence[RowProvenance]:
    """Return rows of a range, all or some of them, in an order that a named key draws."""
    key, number = seeds.derive_key(0, "recall", label), stop - start
    if number <= _MOST_DRAWN:
        drawn = np.argsort(seeds.random_numbers(key, number)).tolist()
    else:
        drawn = (seeds.random_numbers(key, 2 * _MOST_DRAWN) % np.uint64(number)).tolist()
    rows = [start + at for at in dict.fromkeys(drawn)]
    return [trace.provenance.rows(row, row + 1)[0] for row in rows[:_MOST_DRAWN]]


def _text(place: int, origin: RowProvenance, num_times: int) -> Text:
    return Text(
        place=place,
        row=origin.row,
        source=origin.source,
        num_tokens=origin.num_tokens,
        num_times=num_times,
    )


def pair_texts(seen: Sequence[Text], unseen: Sequence[Text]) -> list[Pair]:
    """Return pairs of one source and about one length, each text in one pair at most. Pure.

    Of lengths that are as near, the first is taken.
    """
    free: dict[str, list[Text]] = {}
    for one in unseen:
        free.setdefault(one.source, []).append(one)
    pairs: list[Pair] = []
    for one in seen:
        if len(pairs) == _MOST_PAIRS:
            break
        candidates = free.get(one.source, [])
        if not candidates:
            continue
        best = min(candidates, key=lambda other: abs(other.num_tokens - one.num_tokens))
        longer = max(best.num_tokens, one.num_tokens)
        if abs(best.num_tokens - one.num_tokens) <= _NEAR * longer:
            candidates.remove(best)
            pairs.append(Pair(seen=one, unseen=best))
    return pairs
