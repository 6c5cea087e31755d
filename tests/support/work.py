"""Builds in this process whose work is counted: what tasks made, not what they found."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.here import Here, run_here

from pipeline.config.load import load_mixture
from pipeline.runner import sampled_shards
from pipeline.runner.build_alone import build_alone
from pipeline.runner.cluster import Tasks
from pipeline.runner.run import build
from pipeline.runner.shuffle import write
from pipeline.runner.tasks import make_partition, sample_partition

MADE = {
    "chunk": (make_partition, "_make"),
    "sample": (sample_partition, "_sample"),
    "order": (write, "_write"),
}
"""By stage, the function that makes what a task is for."""


class Stops(Here):
    """A cluster of this process that stops before a stage that has tasks."""

    def __init__(self, before: str | None) -> None:
        super().__init__()
        self.before = before

    def each(self, stage: str, function: Callable[[Any], Any], tasks: Tasks[Any]) -> Iterator[Any]:
        if stage == self.before and len(tasks):
            raise KeyboardInterrupt
        return super().each(stage, function, tasks)


def counted(
    mixture: Path, out: Path, *, before: str | None = None, alone: str = "", **options: Any
) -> dict[str, int]:
    """Build, until before a stage; return how often each stage made something.

    alone: a partition that is made alone.
    """
    made: Counter[str] = Counter()
    settings = options.pop("settings", ())
    with pytest.MonkeyPatch.context() as patch:
        run_here(patch, sampled_shards, Stops(before))
        for stage, (module, name) in MADE.items():
            patch.setattr(module, name, _counting(made, stage, getattr(module, name)))
        common: Any = {"workers": None, "scheduler": None, "report": lambda *_: None, **options}
        loaded = load_mixture(mixture, settings)
        if alone:
            build_alone(loaded, [alone], out, **common)
        elif before is None:
            build(loaded, out, **common)
        else:
            with pytest.raises(KeyboardInterrupt):
                build(loaded, out, **common)
    return {stage: made[stage] for stage in MADE}


def _counting(made: Counter[str], stage: str, make: Callable[..., Any]) -> Callable[..., Any]:
    def make_counted(*arguments: Any) -> Any:
        made[stage] += 1
        return make(*arguments)

    return make_counted
