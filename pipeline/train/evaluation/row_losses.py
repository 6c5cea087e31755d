"""The losses of rows: what a model makes of each, with masks that depend on the row alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.core import seeds
from pipeline.core.arrays import Int64Array
from pipeline.core.ragged import Rows, offsets_of
from pipeline.dataset import Order
from pipeline.feed import Clm, Mlm, Objective, flat_inputs, view_of, view_rows
from pipeline.stages.tokenizer import EMBEDDED, load_tokenizer
from pipeline.train.evaluation.opened_models import OpenedModel
from pipeline.train.evaluation.place import Place
from pipeline.train.models import label_losses, prepare_inputs

MASK_PROB = 0.15
"""As the suite evaluates its encoders."""
_IDS_AT_ONCE = 8192
_ROWS_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class RowLosses:
    """Of rows, in the order in which they were asked for."""

    sums: NDArray[np.float64]
    """float64 [num_rows], the sum of cross-entropies at the labels of each, in nats."""
    num_labels: Int64Array
    """int64 [num_rows]."""
    num_bytes: Int64Array
    """int64 [num_rows], bytes of the texts of the labels."""

    @property
    def means(self) -> NDArray[np.float64]:
        """float64 [num_rows], nats a label; NaN for a row without labels."""
        with np.errstate(invalid="ignore"):
            return self.sums / np.where(self.num_labels, self.num_labels, np.nan)


def objective_of(opened: OpenedModel) -> Objective:
    """Return what a model predicts: the next id, or masked ones, the same ones every time."""
    if opened.kind == "decoder":
        return Clm()
    return Mlm(mask_prob=MASK_PROB, seed=seeds.derive_key(0, "evaluation"))


@torch.no_grad()
def row_losses(opened: OpenedModel, place: Place, numbers: Int64Array) -> RowLosses:
    """Return the losses of rows of an order under the view of the model.

    numbers: int64 [num_rows].

    Raises: as `Order.rows` and `Place.special`, and InputError for ids that the tokenizer lacks.
    """
    special, bytes_by_id = place.special, _bytes_by_id(place.special.vocab_size)
    sums, labels, num_bytes = np.zeros(len(numbers)), *np.zeros((2, len(numbers)), np.int64)
    objective = objective_of(opened)
    ascending = np.argsort(numbers, kind="stable")
    for places, rows in _groups(place.order, numbers, ascending):
        rows, _ = view_rows(rows, view_of(objective), opened.max_seq_len, special)
        inputs = flat_inputs(
            rows, numbers[places], np.zeros(len(rows), np.bool_), objective, special
        )
        prepared = prepare_inputs(opened.model, inputs)
        losses = label_losses(opened.model, prepared).cpu().numpy().astype(np.float64)
        positions = prepared["positions"].cpu().numpy()
        if opened.kind == "decoder":
            # A loss is at the position before the id that is predicted.
            positions = positions + 1
        of = places[np.searchsorted(rows.offsets, positions, side="right") - 1]
        np.add.at(sums, of, losses)
        np.add.at(labels, of, 1)
        np.add.at(num_bytes, of, bytes_by_id[prepared["targets"].cpu().numpy()])
    return RowLosses(sums=sums, num_labels=labels, num_bytes=num_bytes)


@cache
def _bytes_by_id(vocab_size: int) -> Int64Array:
    """Return the bytes of each id: int64 [vocab_size], 0 of special ones and those without text."""
    tokenizer = load_tokenizer(EMBEDDED, add_prefix_space=False)
    lengths = tokenizer.decode_table().lengths()
    lengths[tokenizer.special_ids] = 0
    return np.pad(lengths, (0, max(0, vocab_size - len(lengths))))


def _groups(
    order: Order, numbers: Int64Array, ascending: Int64Array
) -> Iterator[tuple[Int64Array, Rows]]:
    """Yield rows in groups of some thousand ids, each with their places in `numbers`."""
    for first in range(0, len(numbers), _ROWS_AT_ONCE):
        places = ascending[first : first + _ROWS_AT_ONCE]
        taken = order.rows.take(numbers[places])
        ids = [taken[row] for row in range(len(taken))]
        start = 0
        while start < len(ids):
            stop, num_ids = start + 1, len(ids[start])
            while stop < len(ids) and num_ids + len(ids[stop]) <= _IDS_AT_ONCE:
                num_ids += len(ids[stop])
                stop += 1
            lengths = np.array([len(one) for one in ids[start:stop]], np.int64)
            values = np.concatenate(ids[start:stop])
            yield places[start:stop], Rows(values=values, offsets=offsets_of(lengths))
            start = stop
