"""Held-out loss: what a model makes of the validation split, by source."""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from pipeline.core import seeds
from pipeline.core.arrays import Int64Array
from pipeline.core.progress import ReportProgress, no_progress
from pipeline.feed import view_rows
from pipeline.train.evaluation.opened_models import OpenedModel
from pipeline.train.evaluation.place import Place
from pipeline.train.evaluation.row_losses import RowLosses, row_losses
from pipeline.train.evaluation.sentence_scores import row_scores

# Every token of them is a pass of an encoder over its row.
_MOST_SCORED: Final = 64
_MOST_TOKENS: Final = 128


def held_out(
    opened: OpenedModel, place: Place, report: ReportProgress = no_progress
) -> dict[str, Any]:
    """Return the loss over all rows of a validation split, and by source.

    Losses are nats a label: the next token of a decoder, a masked one of an encoder, which are not
    to be compared. `per_byte` divides a decoder's by the bytes of its labels, so that models with
    other tokenizers compare. `pseudo_log_likelihood` of an encoder is nats a token, over the first
    tokens of rows that are drawn from each source.

    Raises: as `row_losses`.
    """
    numbers = np.arange(place.order.rows.num_rows)
    losses = row_losses(opened, place, numbers, report=report)
    names = np.array([one.source for one in place.trace.provenance.rows(0, len(numbers))])
    by_source = {name: numbers[names == name] for name in sorted({*names.tolist()})}
    scores = None
    if opened.kind == "encoder":
        drawn = map(_drawn, by_source.values())
        scores = _token_by_token(opened, place, len(numbers), drawn, report)
    return {
        **_summary(losses, scores, numbers),
        "by_source": {name: _summary(losses, scores, rows) for name, rows in by_source.items()},
    }


def _drawn(rows: Int64Array) -> Int64Array:
    """Return some of the rows of a source, by a named key."""
    key = seeds.derive_key(0, "pseudo-log-likelihood")
    return rows[np.argsort(seeds.random_numbers(key, len(rows)))[:_MOST_SCORED]]


def _token_by_token(
    opened: OpenedModel,
    place: Place,
    num_rows: int,
    drawn: Iterable[Int64Array],
    report: ReportProgress,
) -> RowLosses:
    """Return the losses of each token of the rows that are drawn; the others have no labels."""
    chosen = np.sort(np.concatenate([np.zeros(0, np.int64), *drawn]))
    special = place.special
    most = min(_MOST_TOKENS, opened.max_seq_len)
    rows, _ = view_rows(place.order.rows.take(chosen), opened.kind, most, special)
    sums, num_labels = np.zeros(num_rows), np.zeros(num_rows, np.int64)
    sums[chosen] = -row_scores(opened, rows, special, report)
    num_labels[chosen] = [int((~special.is_special[ids]).sum()) for ids in rows]
    return RowLosses(sums=sums, num_labels=num_labels, num_bytes=np.zeros_like(num_labels))


def _summary(losses: RowLosses, scores: RowLosses | None, rows: Int64Array) -> dict[str, Any]:
    """Summarise some rows. scores: of an encoder."""
    total, num_labels = _total(losses, rows)
    summary = {
        "loss": total / num_labels if num_labels else None,
        "num_labels": num_labels,
        "num_rows": len(rows),
    }
    if scores is None:
        num_bytes = int(losses.num_bytes[rows].sum())
        summary["per_byte"] = total / num_bytes if num_bytes else None
    else:
        total, num_tokens = _total(scores, rows)
        summary["pseudo_log_likelihood"] = -total / num_tokens if num_tokens else None
    return summary


def _total(losses: RowLosses, rows: Int64Array) -> tuple[float, int]:
    return float(losses.sums[rows].sum()), int(losses.num_labels[rows].sum())
