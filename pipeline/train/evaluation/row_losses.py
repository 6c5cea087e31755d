"""The losses of rows: what a model makes of each, with masks that depend on the row alone."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.core import seeds
from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.core.errors import InputError
from pipeline.core.progress import ReportProgress, Work, no_progress
from pipeline.core.ragged import Rows, offsets_of
from pipeline.dataset import Order
from pipeline.feed import Clm, Mlm, Objective, flat_inputs, view_of, view_rows
from pipeline.stages.tokenizer import EMBEDDED, Tokenizer, load_tokenizer
from pipeline.train.evaluation.opened_models import OpenedModel
from pipeline.train.evaluation.place import Place
from pipeline.train.models import label_losses, prepare_inputs

MASK_PROB = 0.15
"""As the suite evaluates its encoders."""
_IDS_AT_ONCE = 8192
_ROWS_AT_ONCE = 256
ROWS = Work(unit="rows")


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


def objective_of(opened: OpenedModel, draw: int = 0) -> Objective:
    """Return what a model predicts: the next id, or masked ones, the same ones every time.

    draw: which of the draws of masks.
    """
    if opened.kind == "decoder":
        return Clm()
    further = (str(draw),) if draw else ()
    return Mlm(mask_prob=MASK_PROB, seed=seeds.derive_key(0, "evaluation", *further))


def row_losses(
    opened: OpenedModel,
    place: Place,
    numbers: Int64Array,
    num_draws: int = 1,
    report: ReportProgress = no_progress,
) -> RowLosses:
    """Return the losses of rows of an order under the view of the model.

    numbers: int64 [num_rows]; num_draws: of the masks of an encoder, all of which are added up.

    Raises: as `Order.rows`, `Place.special` and `losses_in_rows`, and InputError for ids that the
    tokenizer lacks.
    """
    special, bytes_by_id = place.special, _bytes_by_id(place.special.vocab_size)
    sums, labels, num_bytes = np.zeros(len(numbers)), *np.zeros((2, len(numbers)), np.int64)
    draws = range(num_draws if opened.kind == "encoder" else 1)
    objectives = [objective_of(opened, draw) for draw in draws]
    done = 0
    for places, rows in batched(_ascending(place.order, numbers)):
        rows, _ = view_rows(rows, view_of(objectives[0]), opened.max_seq_len, special)
        is_filler = np.zeros(len(rows), np.bool_)
        for objective in objectives:
            inputs = flat_inputs(rows, numbers[places], is_filler, objective, special)
            found = losses_in_rows(opened, rows, inputs)
            of = places[found.rows]
            np.add.at(sums, of, found.losses)
            np.add.at(labels, of, 1)
            np.add.at(num_bytes, of, bytes_by_id[found.ids])
        done += len(rows)
        report("losses", done, len(numbers), ROWS)
    return RowLosses(sums=sums, num_labels=labels, num_bytes=num_bytes)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LabelLosses:
    """Of the labels of a batch."""

    rows: Int64Array
    """int64 [num_labels], the row of each in the batch."""
    ids: Int64Array
    """int64 [num_labels], what was to be predicted."""
    losses: NDArray[np.float64]
    """float64 [num_labels], in nats."""


@torch.no_grad()
def losses_in_rows(opened: OpenedModel, rows: Rows, inputs: Mapping[str, Any]) -> LabelLosses:
    """Return the losses at the labels of a batch. inputs: of `flat_inputs` for these rows.

    Raises: InputError for losses that are not finite.
    """
    prepared = prepare_inputs(opened.model, inputs)
    losses = label_losses(opened.model, prepared).cpu().numpy().astype(np.float64)
    if not np.isfinite(losses).all():
        raise InputError(
            f"{opened.name}: got losses that are not finite, expected a model that was trained"
        )
    # A decoder's loss is at the position before the id that is predicted.
    positions = prepared["positions"].cpu().numpy() + (opened.kind == "decoder")
    return LabelLosses(
        rows=np.searchsorted(rows.offsets, positions, side="right") - 1,
        ids=prepared["targets"].cpu().numpy(),
        losses=losses,
    )


def batched(rows: Iterable[tuple[int, Uint32Array]]) -> Iterator[tuple[Int64Array, Rows]]:
    """Yield rows in batches of some thousand ids, each with the numbers that they came with."""
    numbers: list[int] = []
    batch: list[Uint32Array] = []
    num_ids = 0
    for number, ids in rows:
        if batch and num_ids + len(ids) > _IDS_AT_ONCE:
            yield np.array(numbers), _joined(batch)
            numbers, batch, num_ids = [], [], 0
        numbers.append(number)
        batch.append(ids)
        num_ids += len(ids)
    if batch:
        yield np.array(numbers), _joined(batch)


def _joined(batch: list[Uint32Array]) -> Rows:
    return Rows(values=np.concatenate(batch), offsets=offsets_of([len(ids) for ids in batch]))


def _ascending(order: Order, numbers: Int64Array) -> Iterator[tuple[int, Uint32Array]]:
    """Yield rows as they lie in an order, each with its place in `numbers`."""
    ascending = np.argsort(numbers, kind="stable")
    for first in range(0, len(numbers), _ROWS_AT_ONCE):
        places = ascending[first : first + _ROWS_AT_ONCE]
        yield from zip(places.tolist(), order.rows.take(numbers[places]), strict=True)


def embedded_tokenizer() -> Tokenizer:
    """Return the tokenizer of the models."""
    return load_tokenizer(EMBEDDED, add_prefix_space=False)


@cache
def _bytes_by_id(vocab_size: int) -> Int64Array:
    """Return the bytes of each id: int64 [vocab_size], 0 of special ones and those without text."""
    tokenizer = embedded_tokenizer()
    lengths = tokenizer.decode_table.lengths()
    lengths[tokenizer.special_ids] = 0
    return np.pad(lengths, (0, max(0, vocab_size - len(lengths))))
