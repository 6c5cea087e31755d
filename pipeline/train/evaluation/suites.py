"""Suites by name, and models through them: one answer a model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipeline import dataset
from pipeline.audit.trace import Trace
from pipeline.core.arrays import Int64Array
from pipeline.core.errors import InputError, MismatchError
from pipeline.dataset import VALIDATION, Order
from pipeline.feed import SpecialIds, special_ids
from pipeline.stages.tokenizer import EMBEDDED, load_tokenizer
from pipeline.train.evaluation.held_out import held_out
from pipeline.train.evaluation.opened_models import (
    FoundModel,
    OpenedModel,
    find_models,
    open_model,
)
from pipeline.train.evaluation.place import Place
from pipeline.train.evaluation.recall import recall
from pipeline.train.ranks import join_ranks

SUITES: Final = ("held-out", "recall")


@dataclass(kw_only=True)
class _Data:
    """The output that models are evaluated on."""

    out: Path

    @cached_property
    def trained_on(self) -> Place:
        return Place(order=dataset.open(self.out), trace=Trace.open(self.out))

    @cached_property
    def held_out(self) -> Place | None:
        """The validation split, if there is one."""
        folder = self.out / VALIDATION
        if not folder.is_dir():
            return None
        return Place(order=dataset.open(folder), trace=Trace.open(folder))

    @cached_property
    def special(self) -> SpecialIds:
        return special_ids(self.trained_on.order, EMBEDDED)

    @cached_property
    def bytes_by_id(self) -> Int64Array:
        tokenizer = load_tokenizer(EMBEDDED, add_prefix_space=False)
        lengths = tokenizer.decode_table().lengths()
        lengths[tokenizer.special_ids] = 0
        # Ids beyond the tokenizer's have no text.
        return np.pad(lengths, (0, max(0, self.special.vocab_size - len(lengths))))


def evaluate_models(
    where: Sequence[str], data: Path, suites: Sequence[str], device: str | None
) -> Iterator[dict[str, Any]]:
    """Yield the answer of each model: `model`, `kind`, `num_tokens`, and one for each suite.

    where: as for `find_models`; data: the output of a build on this machine; device: as for
    `join_ranks`.

    Raises: InputError for what is no model or lacks what a suite needs, MismatchError for a model
    of another order, both before the first answer; as `open_model`.
    """
    data_found = _Data(out=data)
    found = [one for place in where for one in find_models(place)]
    if "held-out" in suites and data_found.held_out is None:
        raise InputError(
            f"{data}: got no {VALIDATION}/, expected a validation split for held-out",
            "build with `validation: {fraction: 0.01}` in the mixture, or add --suite recall",
        )
    if "recall" in suites:
        for one in found:
            _check_order(one, data_found.trained_on.order)
    with join_ranks(device) as ranks:
        for one in found:
            yield _answer(one, open_model(one, ranks.device), data_found, suites)


def _answer(
    found: FoundModel, opened: OpenedModel, data: _Data, suites: Sequence[str]
) -> dict[str, Any]:
    places = [place for place in (data.trained_on, data.held_out) if place is not None]
    answer: dict[str, Any] = {
        "model": found.name,
        "kind": opened.kind,
        "num_tokens": found.num_tokens,
    }
    if "held-out" in suites:
        answer["held-out"] = held_out(opened, places[-1], data.special, data.bytes_by_id)
    if "recall" in suites:
        assert found.num_rows is not None
        answer["recall"] = recall(opened, found.num_rows, places, data.special, data.bytes_by_id)
    return answer


def _check_order(found: FoundModel, order: Order) -> None:
    if found.order is None or found.num_rows is None:
        raise InputError(
            f"{found.name}: nothing says which rows it has seen, expected a checkpoint or an"
            " export of one for recall",
            "add --suite held-out",
        )
    if found.order != order.digest:
        raise MismatchError(
            f"{found.name}: got a model of the order {found.order}, expected {order.digest}, that"
            f" of {order.where}",
            "name the output that it was trained on",
        )
