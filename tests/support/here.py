"""A cluster of this process alone, in place of the one that a build opens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

from pipeline.runner.cluster import InProcess, Tasks


class Here(InProcess):
    """Carries tasks out in this process, and calls `between` after each stage that has any."""

    def __init__(self, between: Callable[[], None] = lambda: None) -> None:
        super().__init__(lambda *_: None)
        self.between = between

    def each(self, stage: str, function: Callable[[Any], Any], tasks: Tasks[Any]) -> Iterator[Any]:
        yield from super().each(stage, function, tasks)
        if len(tasks):
            self.between()


def run_here(patch: pytest.MonkeyPatch, module: ModuleType, cluster: Here) -> None:
    """Let a module that opens clusters run its tasks on `cluster`."""

    @contextmanager
    def open_here(*_: object, **__: object) -> Iterator[Here]:
        yield cluster

    patch.setattr(module, "open_cluster", open_here)
