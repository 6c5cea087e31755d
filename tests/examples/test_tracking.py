"""Metrics of a run are copied to trackers: to a stand-in that notes its calls, and to real ones.

The real ones need what `tests/examples/setup.sh FOLDER` makes:
`ETTIN_EXAMPLES=FOLDER python -m pytest -m oracle`.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from examples import environments
from examples.scripts import run

LINES = [
    {"kind": "train", "step": 1, "loss": 10.5, "rows": [0, 16], "rows_multiset": "ab"},
    {"kind": "validation", "step": 1, "loss": 9.5},
    {"kind": "checkpoint", "step": 1, "path": "pre/step1"},
    {"kind": "train", "step": 2, "loss": None, "num_labels": 0},
]
COUNT = """\
import sqlite3, sys
found = sqlite3.connect(sys.argv[1]).execute("select step, metrics from metrics order by id")
print(*[(step, metrics) for step, metrics in found])
"""


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """The folder of a run that has metrics alone."""
    out = tmp_path / "pre"
    out.mkdir()
    (out / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return out


def test_a_tracker_gets_the_numbers_of_each_step(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    tracker = SimpleNamespace(
        init=lambda **arguments: calls.append(arguments),
        log=lambda numbers, step: calls.append((step, numbers)),
        finish=lambda: calls.append("finish"),
    )
    monkeypatch.setitem(sys.modules, "trackio", tracker)
    run(monkeypatch, "track", trained, "--project", "sample")
    assert calls == [
        {"project": "sample", "name": "pre"},
        (1, {"train/loss": 10.5}),
        (1, {"validation/loss": 9.5}),
        (2, {"train/num_labels": 0}),
        "finish",
    ]


def test_a_missing_tracker_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(SystemExit, match="got no library 'wandb'\nhint: pip install wandb"):
        run(monkeypatch, "track", "pre", "--to", "wandb")


@pytest.mark.parametrize(
    "tracker", [pytest.param(one, marks=environments.needed) for one in ("trackio", "wandb")]
)
def test_real_trackers_take_them(
    tracker: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TRACKIO_DIR": tmp_path, "WANDB_DIR": tmp_path}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("WANDB_MODE", "offline")
    environments.run("tracking", "python", "examples/track.py", trained, "--to", tracker)
    if tracker == "wandb":
        assert len([*tmp_path.glob("wandb/offline-run-*/*.wandb")]) == 1
        return
    found = environments.run("tracking", "python", "-c", COUNT, tmp_path / "ettin-data.db")
    assert found.count("train/loss") == found.count("validation/loss") == 1
