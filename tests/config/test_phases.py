"""Phases: one table of the names that each has in recipes, orders and checkpoints."""

from typing import get_args

from pipeline.config.recipe import (
    CHECKPOINT_PREFIXES,
    PHASES_OF_ORDERS,
    PhaseName,
    checkpoint_prefix,
)


def test_every_phase_of_a_recipe_is_in_the_table() -> None:
    assert tuple(CHECKPOINT_PREFIXES) == get_args(PhaseName)


def test_checkpoints_are_named_as_those_of_the_suite() -> None:
    prefixes = {"pretraining": "step", "extension": "ext", "decay": "decay", "cross": "cross"}
    assert prefixes == CHECKPOINT_PREFIXES


def test_phases_of_orders_are_those_of_the_published_order() -> None:
    assert PHASES_OF_ORDERS == ("checkpoint", "ext", "decay")
    assert [checkpoint_prefix(phase) for phase in PHASES_OF_ORDERS] == ["step", "ext", "decay"]


def test_a_phase_of_another_name_names_its_checkpoints_itself() -> None:
    assert checkpoint_prefix("cooldown") == "cooldown"
