"""Metrics tell of every step once, and keep what they told when they are killed or disks fill."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra `train` is not installed")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.core.errors import OutputError
from pipeline.train import metrics as module
from pipeline.train.checkpoints import SCRATCH
from pipeline.train.metrics import METRICS, Metrics


def tell(out: Path, after: int, *steps: int, **facts: Any) -> None:
    """Tell of steps, of a run that goes on after some."""
    metrics = Metrics(out, after)
    for step in steps:
        metrics.add("train", step, {"loss": step / 2, **facts})
    metrics.close()


def told(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / METRICS).read_text().splitlines()]


def curves(out: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(out / "tensorboard")).Reload()
    return {
        tag: [(one.step, one.value) for one in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_a_run_that_goes_on_tells_of_no_step_twice(tmp_path: Path) -> None:
    tell(tmp_path, 0, 1, 2, 3)
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"kind": "train", "st')
    tell(tmp_path, 2, 3, 4)
    assert [(line["step"], line["loss"]) for line in told(tmp_path)] == [
        (1, 0.5), (2, 1.0), (3, 1.5), (4, 2.0)
    ]  # fmt: skip
    assert curves(tmp_path)["train/loss"] == [(1, 0.5), (2, 1.0), (3, 1.5), (4, 2.0)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [METRICS, "tensorboard"]


def test_a_run_that_goes_on_tells_once_of_the_checkpoint_that_it_goes_on_from(
    tmp_path: Path,
) -> None:
    # Killed after it saved, and before it told so.
    tell(tmp_path, 0, 1, 2)
    for _ in range(2):
        Metrics(tmp_path, 2, tmp_path / "step2").close()
        assert [(line["kind"], line["step"]) for line in told(tmp_path)] == [
            ("train", 1), ("train", 2), ("checkpoint", 2)
        ]  # fmt: skip
    assert told(tmp_path)[-1]["path"] == str(tmp_path / "step2")


def test_what_was_told_before_a_checkpoint_is_as_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = Metrics(tmp_path, 0)
    metrics.add("train", 1, {"loss": 1.0})
    [events] = (tmp_path / "tensorboard").iterdir()
    synced = []
    monkeypatch.setattr(
        "os.fsync", lambda file: synced.append(Path(os.readlink(f"/proc/self/fd/{file}")))
    )
    metrics.sync()
    assert synced == [tmp_path / METRICS, events, events.parent]
    metrics.close()


def test_what_a_killed_run_left_half_written_is_removed(tmp_path: Path) -> None:
    tell(tmp_path, 0, 1)
    (tmp_path / SCRATCH / "half").mkdir(parents=True)
    (tmp_path / SCRATCH / "half" / "model.safetensors").write_bytes(b"half")
    tell(tmp_path, 1)
    assert not (tmp_path / SCRATCH).exists()


def test_what_is_not_known_is_null_and_in_no_curve(tmp_path: Path) -> None:
    tell(tmp_path, 0, 1, loss=None, num_labels=0, path="here")
    expected = {"kind": "train", "step": 1, "loss": None, "num_labels": 0, "path": "here"}
    assert told(tmp_path) == [expected]
    assert curves(tmp_path) == {"train/num_labels": [(1, 0.0)]}


@pytest.mark.parametrize("is_killed", [True, False])
def test_what_was_told_is_still_there_if_taking_lines_out_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    tell(tmp_path, 0, 1, 2, 3)
    before = (tmp_path / METRICS).read_bytes()
    error = KeyboardInterrupt() if is_killed else OSError(28, "No space left on device")

    def fail(path: Path, *_: Any, **__: Any) -> None:
        path.open("w").close()
        raise error

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(KeyboardInterrupt if is_killed else OutputError):
        Metrics(tmp_path, 1)
    assert (tmp_path / METRICS).read_bytes() == before


LIMITED = """
import resource, sys
from pathlib import Path

from pipeline.core.errors import OutputError
from pipeline.train import metrics as module
from pipeline.train.checkpoints import SCRATCH
from pipeline.train.metrics import Metrics

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    metrics = Metrics(Path(sys.argv[1]), 0)
    try:
        for step in range(200):
            metrics.add("train", step, {"loss": 1.0})
    finally:
        metrics.close()
except OutputError as error:
    print(error.message)
"""


# At once, of the events, which begin with a few; or after some steps, of either.
@pytest.mark.parametrize("num_bytes", [0, 1000])
def test_a_full_disk_is_told_in_one_line(tmp_path: Path, num_bytes: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path, str(num_bytes)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == f"{tmp_path / METRICS}: the disk is full\n", done.stderr
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize("method", ["_write", "add"])
def test_a_disk_that_fails_at_once_leaves_no_file_open(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    real = Path.open

    def open_(path: Path, *arguments: Any) -> Any:
        opened.append(real(path, *arguments))
        return opened[-1]

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "open", open_)
    monkeypatch.setattr(module.EventFile if method == "_write" else Metrics, method, fail)
    with pytest.raises(OutputError, match="the disk fails"):
        Metrics(tmp_path, 2, tmp_path / "step2")
    assert opened
    assert all(file.closed for file in opened)
