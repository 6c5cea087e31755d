"""A row: its tokens, where it was cut, and what a model is given of it."""

from typing import Any

import numpy as np

from pipeline.audit.trace import row_json
from pipeline.config import CUT_AT_SIZE
from pipeline.core.arrays import Int64Array
from pipeline.core.errors import PipelineError
from pipeline.dataset.provenance import RowProvenance
from pipeline.feed import IGNORED, Clm, Mlm, Objective, make_feed
from pipeline.show.commands import same_trace
from pipeline.show.shown_order import Shown

_NEVER_BORROW = ("whole-v1", "ettin-line-v1")
_SLICES = ("ettin-slice-v1", "ettin-slice-v2")
# As `ettin-data feed` masks.
_MASK_PROB = 0.3
_MASK_SEED = 0
_MOST_IDS = 1 << 20
MOST_TOKENS = 1 << 15
"""Of a longer row, so many tokens are listed."""


def row_view(shown: Shown, row: int) -> dict[str, Any]:
    """Return a row, from 0.

    Raises: NotFoundError when it is not in the order; MismatchError when it is damaged.
    """
    order = shown.need_order()
    shown.check_row(row, order.rows.num_rows)
    ids = order.rows.take(np.array([row]))[0]
    tokens = shown.token_text.tokens(ids[:MOST_TOKENS])
    origin = None if shown.trace is None else shown.trace.provenance.rows(row, row + 1)[0]
    return {
        "row": row,
        "step": shown.step_of(row),
        **_origin_json(origin),
        "num_tokens": len(ids),
        "tokens": tokens,
        "num_tokens_cut": len(ids) - len(tokens),
        "is_cut_before": None if origin is None else origin.chunk > 0,
        "is_cut_after": None if origin is None else origin.chunk + 1 < origin.num_chunks,
        "borrowed": _borrowed(shown, origin),
        **_fed(shown, row, "encoder", Mlm(mask_prob=_MASK_PROB, seed=_MASK_SEED)),
        **_fed(shown, row, "decoder", Clm()),
        "other_rows": _other_rows(shown, origin),
        **same_trace(shown, "row", {"row": row}, ["--row", str(row), "--text"]),
    }


def _origin_json(origin: RowProvenance | None) -> dict[str, Any]:
    names = ("source", "file", "document", "chunk", "num_chunks")
    content = {} if origin is None else row_json(origin)
    return {name: content.get(name) for name in names}


def _borrowed(shown: Shown, origin: RowProvenance | None) -> int | None:
    """Return how many of its first ids a chunk took from the one before; None where not known.

    Of ettin-* only a last chunk borrows, and a slice is stored as it was cut, so that the one
    before lacks as many ids as were borrowed of it. What is encoded again has another length.
    """
    declared = {} if shown.manifest is None else shown.manifest.mixture.declaration.get("chunk", {})
    algorithm = declared.get("algorithm")
    if origin is None or shown.trace is None or algorithm is None:
        return None
    is_last = origin.chunk + 1 == origin.num_chunks
    if algorithm in _NEVER_BORROW or origin.chunk == 0 or not is_last:
        return 0
    if algorithm not in _SLICES or shown.trace.manifest.order.view != "stored":
        return None
    for one in shown.trace.document(origin.document, origin.source):
        if one.chunk == origin.chunk - 1:
            size = int(declared["size"]) - (0 if algorithm in CUT_AT_SIZE else 2)
            return size - one.num_tokens
    return None


def _other_rows(shown: Shown, origin: RowProvenance | None) -> list[int]:
    """Return the other rows of the same chunk."""
    if origin is None or shown.trace is None:
        return []
    found = shown.trace.document(origin.document, origin.source)
    return [one.row for one in found if one.chunk == origin.chunk and one.row != origin.row]


def _fed(shown: Shown, row: int, model: str, objective: Objective) -> dict[str, Any]:
    """Return what a model is given of a row, by the feed of a trainer; or why it is not."""
    order = shown.need_order()
    try:
        feed = make_feed(
            order,
            objective=objective,
            micro_batch_rows=1,
            global_batch_rows=1,
            max_seq_len=order.max_seq_len or _MOST_IDS,
            special=shown.special,
        )
        feed.seek_row(row)
        inputs = next(iter(feed)).inputs
    except PipelineError as error:
        return {model: None, f"{model}_problem": error.message}
    ids, labels = (_flat(inputs[name])[:MOST_TOKENS] for name in ("input_ids", "labels"))
    fed: dict[str, Any] = {"ids": ids.tolist()}
    if isinstance(objective, Mlm):
        masked = np.flatnonzero(labels != IGNORED)
        fed |= {
            "tokens": shown.token_text.tokens(ids),
            "masked": masked.tolist(),
            "labels": labels[masked].tolist(),
            "mask_prob": objective.mask_prob,
            "labels_seed": objective.seed,
        }
    return {model: fed, f"{model}_problem": None}


def _flat(values: Any) -> Int64Array:
    return np.asarray(values).reshape(-1)
