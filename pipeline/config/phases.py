"""The phases of training, and the names that each has in recipes, orders and checkpoints.

Source: folders of `jhu-clsp/ettin-data-order` (`checkpoint_000001`, `ext_000001`, `decay_000001`)
and revisions of the suite's models on the Hub (`step599525`, `ext...`, `decay...`).
"""

from dataclasses import dataclass
from typing import Final, Literal

PhaseName = Literal["pretraining", "extension", "decay", "cross"]


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase under each of its names."""

    name: PhaseName
    """In a recipe."""
    order: str | None
    """In a mixture, and before the number in the name of a checkpoint window; None without one."""
    checkpoint: str
    """Before the number of steps in the name of a model checkpoint."""


PHASES: Final = (
    Phase("pretraining", "checkpoint", "step"),
    Phase("extension", "ext", "ext"),
    Phase("decay", "decay", "decay"),
    # Ours: a model of one kind trained on as the other; its data is that of another phase.
    Phase("cross", None, "cross"),
)
"""In the order of training."""

PHASES_OF_ORDERS: Final = tuple(phase.order for phase in PHASES if phase.order is not None)
"""The names of phases in orders, in the order of training."""

CHECKPOINT_PREFIXES: Final = {phase.name: phase.checkpoint for phase in PHASES}
"""What checkpoint names of a recipe's phase begin with."""


def checkpoint_prefix(order_phase: str) -> str:
    """Return what checkpoint names begin with that were trained on a phase of an order.

    A phase of a name of its own names its checkpoints itself.
    """
    return next((one.checkpoint for one in PHASES if one.order == order_phase), order_phase)
