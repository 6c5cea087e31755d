"""The machine: rules in an order that a seed gives, each checked against the model."""

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from .model import World
from .rules import RULES


@dataclass
class Tally:
    """How much was simulated."""

    num_operations: int = 0
    seconds: float = 0.0


def simulate(
    seed: int,
    *,
    examples: int,
    steps: int,
    references: Path,
    tally: Tally,
    rules: tuple[type, ...] = RULES,
    shrinks: bool = True,
) -> None:
    """Run rules until one finds a wrong byte.

    Raises: AssertionError with the rules that led there; if it shrinks, the fewest that were found.
    """

    class Simulation(*rules, RuleBasedStateMachine):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._folder = Path(tempfile.mkdtemp(prefix="simulation-"))
            (self._folder / "world").mkdir()
            self.world = World(self._folder / "world", references)

        def check_invariants(self, *arguments: Any, **options: Any) -> None:
            tally.num_operations += 1
            super().check_invariants(*arguments, **options)

        def teardown(self) -> None:
            shutil.rmtree(self._folder, ignore_errors=True)

    began = time.monotonic()
    try:
        run_state_machine_as_test(
            hypothesis.seed(seed)(Simulation),
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                phases=[Phase.generate, *([Phase.shrink] if shrinks else [])],
                suppress_health_check=list(HealthCheck),
                print_blob=False,
            ),
        )
    finally:
        tally.seconds += time.monotonic() - began
