"""A cluster of this process alone, in place of the one that a build opens."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest


class Here:
    """Carries tasks out in this process, and calls `between` after each stage that has any."""

    def __init__(self, between: Callable[[], None] = lambda: None) -> None:
        self.between = between

    def map(self, stage: str, function: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
        results = [function(task) for task in tasks]
        if tasks:
            self.between()
        return results


def run_here(patch: pytest.MonkeyPatch, module: ModuleType, cluster: Here) -> None:
    """Let a module that opens clusters run its tasks on `cluster`."""

    @contextmanager
    def open_here(*_: object) -> Iterator[Here]:
        yield cluster

    patch.setattr(module, "open_cluster", open_here)
