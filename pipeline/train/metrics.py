"""Write the metrics of a training run, as JSON lines and for TensorBoard.

A resumed run removes what was written after its checkpoint, so that no step is reported twice.
"""

import json
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from pipeline.core.files import publish, writing
from pipeline.core.json_record import parse_json
from pipeline.train.checkpoints import SCRATCH

METRICS = "metrics.jsonl"
_EVENTS = "tensorboard"


class Metrics:
    """The metrics of one run; only the first rank writes them."""

    def __init__(self, out: Path, num_steps: int) -> None:
        """Begin, or resume after `num_steps` steps.

        Raises: OutputError when the folder cannot be written.
        """
        self._path = out / METRICS
        with writing(self._path):
            out.mkdir(parents=True, exist_ok=True)
            _truncate(self._path, num_steps)
            self._board: Any = SummaryWriter(str(out / _EVENTS), purge_step=num_steps + 1)
            self._file = self._path.open("a")

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


def _truncate(path: Path, num_steps: int) -> None:
    """Atomically remove the lines of later steps."""
    if not path.exists():
        return
    scratch = path.parent / SCRATCH
    lines = path.read_bytes().splitlines(keepends=True)
    with publish(path, scratch) as temporary:
        temporary.write_bytes(b"".join(line for line in lines if _is_until(line, num_steps)))
    with suppress(OSError):
        scratch.rmdir()


def _is_until(line: bytes, num_steps: int) -> bool:
    try:
        return line.endswith(b"\n") and bool(parse_json(line)["step"] <= num_steps)
    except (ValueError, KeyError, TypeError):
        return False  # Cut off when the run was killed.
