"""Write the metrics of a training run, as JSON lines and for TensorBoard.

A resumed run removes what was written after its checkpoint, so that no step is reported twice; what
was written before it is as durable as the checkpoint itself.
"""

import json
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path
from time import time, time_ns
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from pipeline.core.files import publish, sync, writing
from pipeline.core.json_record import parse_json
from pipeline.train.checkpoints import SCRATCH

METRICS = "metrics.jsonl"
_EVENTS = "tensorboard"


class Metrics:
    """The metrics of one run; only the first rank writes them."""

    def __init__(self, out: Path, num_steps: int, saved: Path | None = None) -> None:
        """Begin, or resume after `num_steps` steps from the checkpoint `saved`.

        Raises: OutputError when the folder cannot be written.
        """
        self._path, self._events = out / METRICS, out / _EVENTS
        with writing(self._path), ExitStack() as stack:
            self._events.mkdir(parents=True, exist_ok=True)
            _truncate(self._path, num_steps)
            # A killed run may have left unfinished files there.
            shutil.rmtree(out / SCRATCH, ignore_errors=True)
            self._file = stack.enter_context(self._path.open("a"))
            self._curves = stack.enter_context(EventFile(self._events, num_steps))
            if saved is not None:
                # The run that saved it may have been killed before it wrote so.
                self.add("checkpoint", num_steps, {"path": str(saved)})
            self._files = stack.pop_all()

    def add(self, kind: str, num_steps: int, facts: dict[str, Any]) -> None:
        """Write the facts of a step or an evaluation, after `num_steps` steps.

        Raises: OutputError when they cannot be written.
        """
        with writing(self._path):
            self._file.write(json.dumps({"kind": kind, "step": num_steps, **facts}) + "\n")
            self._file.flush()
            numbers = {
                f"{kind}/{name}": float(value)
                for name, value in facts.items()
                if isinstance(value, int | float)
            }
            if numbers:
                self._curves.add(num_steps, numbers)

    def sync(self) -> None:
        """Make what was written durable. Raises: OutputError when the disk fails."""
        with writing(self._path):
            sync(self._path)
            sync(self._events)

    def close(self) -> None:
        """Close the files, durable. Raises: OutputError when what is left cannot be written."""
        with writing(self._path), self._files:
            self.sync()


class EventFile(RecordWriter):  # type: ignore[misc]
    """An event file of TensorBoard.

    It is written here and now. The writer of torch has a thread for it, which prints a traceback
    when the disk fails, and tells nobody of the last events that it cannot write.
    """

    def __init__(self, folder: Path, num_steps: int) -> None:
        # TensorBoard reads files in the order of their names.
        file = (folder / f"events.out.tfevents.{time_ns()}").open("xb")
        super().__init__(file)
        try:
            self._write(Event(file_version="brain.Event:2"))
            # It leaves out what earlier files have of this step and those after it.
            self._write(Event(step=num_steps + 1, session_log=SessionLog(status=SessionLog.START)))
        except BaseException:
            with suppress(OSError):  # A disk that fails does so again, and it is closed.
                file.close()
            raise

    def add(self, num_steps: int, numbers: dict[str, float]) -> None:
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in numbers.items()]
        self._write(Event(step=num_steps, summary=Summary(value=values)))

    def _write(self, event: Event) -> None:
        event.wall_time = time()
        self.write(event.SerializeToString())
        self.flush()

    def __enter__(self) -> "EventFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _truncate(path: Path, num_steps: int) -> None:
    """Atomically remove the lines of later steps, and of the checkpoint to resume from."""
    if not path.exists():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    with publish(path, path.parent / SCRATCH) as temporary:
        temporary.write_bytes(b"".join(line for line in lines if _is_until(line, num_steps)))


def _is_until(line: bytes, num_steps: int) -> bool:
    try:
        content = parse_json(line)
        is_last = content["step"] == num_steps and content["kind"] == "checkpoint"
        return line.endswith(b"\n") and content["step"] <= num_steps and not is_last
    except (ValueError, KeyError, TypeError):
        return False  # Cut off when the run was killed.
