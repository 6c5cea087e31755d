"""Held-out loss: what a model makes of the validation split, by source."""

from typing import Any

import numpy as np

from pipeline.train.evaluation.opened_models import OpenedModel
from pipeline.train.evaluation.place import Place
from pipeline.train.evaluation.row_losses import RowLosses, row_losses


def held_out(opened: OpenedModel, place: Place) -> dict[str, Any]:
    """Return the loss over all rows of a validation split, and by source.

    Losses are nats a label: the next token of a decoder, a masked one of an encoder, which are not
    to be compared. `per_byte` divides a decoder's by the bytes of its labels, so that models with
    other tokenizers compare.

    Raises: as `row_losses`.
    """
    numbers = np.arange(place.order.rows.num_rows)
    losses = row_losses(opened, place, numbers)
    sources = [one.source for one in place.trace.provenance.rows(0, len(numbers))]
    names = np.array(sources)
    return {
        **_summary(opened, losses, np.ones(len(numbers), np.bool_)),
        "by_source": {name: _summary(opened, losses, names == name) for name in sorted({*sources})},
    }


def _summary(opened: OpenedModel, losses: RowLosses, chosen: Any) -> dict[str, Any]:
    total, labels = float(losses.sums[chosen].sum()), int(losses.num_labels[chosen].sum())
    num_bytes = int(losses.num_bytes[chosen].sum())
    summary = {
        "loss": total / labels if labels else None,
        "num_labels": labels,
        "num_rows": int(chosen.sum()),
    }
    if opened.kind == "decoder":
        summary["per_byte"] = total / num_bytes if num_bytes else None
    return summary
