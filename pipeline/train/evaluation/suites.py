"""Suites by name, and models through them: one answer a model."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from pipeline.core.errors import ConfigError, InputError, MismatchError
from pipeline.core.progress import TASKS, ReportProgress, Work, no_progress
from pipeline.dataset import VALIDATION, Order
from pipeline.train.evaluation.bias import SHIPPED_TEMPLATES, bias, read_templates
from pipeline.train.evaluation.held_out import held_out
from pipeline.train.evaluation.minimal_pairs import SHIPPED_PAIRS, minimal_pairs, read_pairs
from pipeline.train.evaluation.opened_models import (
    FoundModel,
    OpenedModel,
    find_models,
    open_model,
)
from pipeline.train.evaluation.place import Place
from pipeline.train.evaluation.recall import recall
from pipeline.train.ranks import join_ranks

SUITES_OF_DATA: Final = ("held-out", "recall")
SUITES_OF_SENTENCES: Final = ("minimal-pairs", "bias")
SUITES: Final = (*SUITES_OF_DATA, *SUITES_OF_SENTENCES)

_Suite = Callable[[OpenedModel, FoundModel, ReportProgress], dict[str, Any]]


def evaluate_models(
    where: Sequence[str],
    data: Path | None = None,
    suites: Sequence[str] | None = None,
    device: str | None = None,
    *,
    pairs: Path = SHIPPED_PAIRS,
    templates: Path = SHIPPED_TEMPLATES,
    report: ReportProgress = no_progress,
) -> Iterator[dict[str, Any]]:
    """Yield the answer of each model: `model`, `kind`, `num_tokens`, and one for each suite.

    where: as for `find_models`, and what each model was found under is its `found_in`; data: the
    output of a build on this machine; suites: by default all that need no data, or all; device: as
    for `join_ranks`; pairs: as for `read_pairs`; templates: as for `read_templates`.

    Raises: ConfigError for a suite without data, InputError for what is no model or lacks what a
    suite needs, MismatchError for a model of another order, all before the first answer; as
    `open_model` and the suites.
    """
    chosen = suites or (SUITES if data else SUITES_OF_SENTENCES)
    found = [(place, one) for place in where for one in find_models(place)]
    ready: dict[str, _Suite] = {}
    if wanted := [name for name in SUITES_OF_DATA if name in chosen]:
        ready |= _suites_of_data(data, wanted, [one for _, one in found])
    if "minimal-pairs" in chosen:
        read = read_pairs(pairs)
        ready["minimal-pairs"] = lambda opened, _, said: minimal_pairs(opened, read, said)
    if "bias" in chosen:
        slots = read_templates(templates)
        ready["bias"] = lambda opened, _, said: bias(opened, slots, said)
    with join_ranks(device) as ranks:
        for place, one in found:
            opened = open_model(one, ranks.device)
            yield {
                "model": one.name,
                "found_in": place,
                "kind": opened.kind,
                "num_tokens": one.num_tokens,
                **{
                    name: run(opened, one, _prefixed(report, f"{one.name}: {name}"))
                    for name, run in ready.items()
                },
            }


def _prefixed(report: ReportProgress, prefix: str) -> ReportProgress:
    """Return a report that puts a model and a suite before the name of each stage."""

    def said(stage: str, done: int, total: int, work: Work = TASKS, /) -> None:
        report(f"{prefix}: {stage}", done, total, work)

    return said


def _suites_of_data(
    data: Path | None, wanted: Sequence[str], found: Sequence[FoundModel]
) -> dict[str, _Suite]:
    if data is None:
        raise ConfigError(
            f"--suite {', '.join(wanted)}: got no --data, expected the output of the build that the"
            " models were trained on",
            f"held-out and recall need --data DIR; {' and '.join(SUITES_OF_SENTENCES)} do not",
        )
    trained_on, validation = Place.open(data), data / VALIDATION
    places = [trained_on, Place.open(validation)] if validation.is_dir() else [trained_on]
    if "held-out" in wanted and len(places) == 1:
        raise InputError(
            f"{data}: got no {VALIDATION}/, expected a validation split for held-out",
            "build with `validation: {fraction: 0.01}` in the mixture, or add --suite recall",
        )
    if "recall" in wanted:
        for one in found:
            _check_order(one, trained_on.order)

    def ask_recall(opened: OpenedModel, one: FoundModel, said: ReportProgress) -> dict[str, Any]:
        assert one.num_rows is not None
        return recall(opened, one.num_rows, places, said)

    suites: dict[str, _Suite] = {
        "held-out": lambda opened, _, said: held_out(opened, places[-1], said),
        "recall": ask_recall,
    }
    return {name: suites[name] for name in wanted}


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
