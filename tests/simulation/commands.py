"""The command, run in this process on a cluster of this process alone, on a disk that may fail."""

import io
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from support.here import Here

import pipeline.runner  # the modules that open clusters  # noqa: F401
from pipeline.cli.main import main

from .disk import Disk, Stopped, simulated

FAULT_OF_OURS = 70


@dataclass(frozen=True)
class Done:
    """What came of a command; its code is None where the process was stopped."""

    code: int | None
    stdout: str
    stderr: str

    @property
    def is_good(self) -> bool:
        return self.code == 0

    @property
    def was_stopped(self) -> bool:
        return self.code is None

    def json(self) -> Any:
        return json.loads(self.stdout)


@contextmanager
def _here(*_: object) -> Iterator[Here]:
    yield Here()


def run(*arguments: str | Path, disk: Disk | None = None) -> Done:
    """Run a command to its end, or to where the disk stops it.

    Every error must be one line that says what is wrong, and a hint at most.
    """
    stdout, stderr = io.StringIO(), io.StringIO()
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(stdout))
        stack.enter_context(redirect_stderr(stderr))
        for name in ("replay_pool", "sampled_shards"):
            module = sys.modules[f"pipeline.runner.{name}"]
            stack.enter_context(mock.patch.object(module, "open_cluster", _here))
        if disk is not None:
            stack.enter_context(simulated(disk))
        try:
            code: int | None = main([str(one) for one in arguments])
        except Stopped:
            code = None
    if code is None and disk is not None:
        disk.lose()
    done = Done(code, stdout.getvalue(), stderr.getvalue())
    assert code != FAULT_OF_OURS, f"{arguments}: {done.stderr}"
    if code in (2, 75):
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, f"{arguments}: {done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
    return done
