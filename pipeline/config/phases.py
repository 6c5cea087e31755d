"""The phases of training, and the names that each has in recipes, orders and checkpoints.

Source: folders of `jhu-clsp/ettin-data-order` (`checkpoint_000001`, `ext_000001`, `decay_000001`)
and revisions of the suite's models on the Hub (`step599525`, `ext...`, `decay...`).
"""

from typing import Final, Literal

PhaseName = Literal["pretraining", "extension", "decay", "cross"]
"""In a recipe. `cross` is ours: a model of one kind trained on as the other."""

CHECKPOINT_PREFIXES: Final[dict[PhaseName, str]] = {
    "pretraining": "step",
    "extension": "ext",
    "decay": "decay",
    "cross": "cross",
}
"""What checkpoint names of a recipe's phase begin with."""

PHASES_OF_ORDERS: Final = ("checkpoint", "ext", "decay")
"""In mixtures and in names of checkpoint windows, in the order of training; `cross` has none."""


def checkpoint_prefix(order_phase: str) -> str:
    """Return what checkpoint names of an order's phase begin with; only pretraining has another."""
    return "step" if order_phase == "checkpoint" else order_phase
