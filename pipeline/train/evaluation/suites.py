"""Suites by name, and models through them: one answer a model."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from pipeline.core.errors import InputError, MismatchError
from pipeline.dataset import VALIDATION, Order
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


def evaluate_models(
    where: Sequence[str], data: Path, suites: Sequence[str], device: str | None
) -> Iterator[dict[str, Any]]:
    """Yield the answer of each model: `model`, `kind`, `num_tokens`, and one for each suite.

    where: as for `find_models`; data: the output of a build on this machine; device: as for
    `join_ranks`.

    Raises: InputError for what is no model or lacks what a suite needs, MismatchError for a model
    of another order, both before the first answer; as `open_model`.
    """
    found = [one for place in where for one in find_models(place)]
    trained_on, validation = Place.open(data), data / VALIDATION
    places = [trained_on, Place.open(validation)] if validation.is_dir() else [trained_on]
    if "held-out" in suites and len(places) == 1:
        raise InputError(
            f"{data}: got no {VALIDATION}/, expected a validation split for held-out",
            "build with `validation: {fraction: 0.01}` in the mixture, or add --suite recall",
        )
    if "recall" in suites:
        for one in found:
            _check_order(one, trained_on.order)
    with join_ranks(device) as ranks:
        for one in found:
            yield _answer(one, open_model(one, ranks.device), places, suites)


def _answer(
    found: FoundModel, opened: OpenedModel, places: Sequence[Place], suites: Sequence[str]
) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "model": found.name,
        "kind": opened.kind,
        "num_tokens": found.num_tokens,
    }
    if "held-out" in suites:
        answer["held-out"] = held_out(opened, places[-1])
    if "recall" in suites:
        assert found.num_rows is not None
        answer["recall"] = recall(opened, found.num_rows, places)
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
