"""Metrics: what a training run says of each step, as JSON lines and for TensorBoard.

Enters: facts of steps and evaluations. Leaves: `metrics.jsonl`, a line each, and event files. A run
that goes on from a checkpoint takes away what was written after it, so that no step is told twice.
"""

import json
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from pipeline.core.files import publish, writing

METRICS = "metrics.jsonl"
_EVENTS = "tensorboard"
# That of checkpoints, which is cleared of what a killed run has left.
_SCRATCH = ".scratch"


class Metrics:
    """The metrics of one run; only one process writes them."""

    def __init__(self, out: Path, num_steps: int) -> None:
        """Begin, or go on after `num_steps` steps.

        Raises: OutputError when the folder cannot be written.
        """
        path = out / METRICS
        with writing(path):
            out.mkdir(parents=True, exist_ok=True)
            _keep_until(path, num_steps)
            # Steps after that are taken out of its curves too.
            self._board: Any = SummaryWriter(str(out / _EVENTS), purge_step=num_steps + 1)
            self._file = path.open("a")
        self._path = path

    def add(self, kind: str, num_steps: int, facts: dict[str, Any]) -> None:
        """Write the facts of a step or an evaluation, after `num_steps` steps.

        Raises: OutputError when they cannot be written.
        """
        with writing(self._path):
            self._file.write(json.dumps({"kind": kind, "step": num_steps, **facts}) + "\n")
            self._file.flush()
            for name, value in facts.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(f"{kind}/{name}", value, num_steps)

    def close(self) -> None:
        """Close the files. Raises: OutputError when what is left cannot be written."""
        with writing(self._path), closing(self._board):
            self._file.close()


def _keep_until(path: Path, num_steps: int) -> None:
    """Take the lines of later steps out of a file; killed, it is as it was or as it is to be."""
    if not path.exists():
        return
    scratch = path.parent / _SCRATCH
    with publish(path, scratch) as temporary:
        temporary.write_text("".join(_lines_until(path, num_steps)))
    with suppress(OSError):
        scratch.rmdir()


def _lines_until(path: Path, num_steps: int) -> list[str]:
    """Return the lines of a file that are of up to so many steps."""
    kept = []
    for line in path.read_text().splitlines(keepends=True):
        try:
            is_kept = line.endswith("\n") and json.loads(line)["step"] <= num_steps
        except (ValueError, KeyError, TypeError):
            is_kept = False  # What was being written when the run was killed.
        if is_kept:
            kept.append(line)
    return kept
