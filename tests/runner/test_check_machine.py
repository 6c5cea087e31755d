"""What a machine cannot hold is said before a build begins, by the estimate that `plan` prints."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.planned import lock, mixture

from pipeline.core.errors import OutputError
from pipeline.dataset import State
from pipeline.runner import check_machine as module
from pipeline.runner import make_estimate, run
from pipeline.runner.check_machine import check_machine
from pipeline.runner.machine import Machine
from pipeline.runner.output_lock import lock_output
from pipeline.runner.plan import Plan, make_plan

LARGE = Machine(memory_bytes=1 << 50, process_bytes=1 << 50, free_bytes=1 << 50, open_files=1 << 20)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return make_plan(mixture(tmp_path), lock(), tmp_path / "raw")


def check(
    monkeypatch: pytest.MonkeyPatch, plan: Plan, out: Path, here: Machine, **options: Any
) -> None:
    monkeypatch.setattr(module, "this_machine", lambda folder: here)
    options = {"workers": 2, "scheduler": None, "report": lambda *_: None, **options}
    check_machine(plan, out, **options)


def test_a_build_that_its_disk_cannot_hold_does_not_begin(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    out, raw = tmp_path / "out", tmp_path / "raw"
    # 300M tokens, two bytes each in shards. How far they are compressed in order is not known.
    with pytest.raises(OutputError, match=r"got room for 572MiB .* expected 572.2MiB for the bud"):
        check(monkeypatch, plan, out, replace(LARGE, free_bytes=572 << 20))
    assert not caplog.records
    small = replace(LARGE, free_bytes=573 << 20)
    check(monkeypatch, plan, out, small, keeps_raw=False)
    said = make_estimate(plan, 2, machine=small).exceeds
    # Of `plan`, which adds what is pulled.
    assert said[0].startswith("disk: about ")
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.endswith("disk: about 16.3GiB are needed at the peak, 573MiB are free")
    caplog.clear()
    check(monkeypatch, plan, out, small, raw=raw)
    (line,) = (record.getMessage() for record in caplog.records)
    assert line == f"warning: this machine is too small: {said[0]}"
    caplog.clear()
    # What is there from an earlier run is room, too.
    out.mkdir()
    with (out / "part").open("wb") as file:
        file.truncate(60 << 30)
    check(monkeypatch, plan, out, small, raw=raw)
    assert not caplog.records


def test_too_little_memory_is_said_before_a_build_begins(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    check(monkeypatch, plan, tmp_path, replace(LARGE, memory_bytes=1200 << 20))
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith("warning: this machine is too small: memory: 2 workers and the command")
    assert line.endswith("there are 1.2GiB: --workers 1 fit")
    caplog.clear()
    check(monkeypatch, plan, tmp_path, replace(LARGE, process_bytes=256 << 20))
    (line,) = (record.getMessage() for record in caplog.records)
    assert "memory: a process takes about " in line
    assert line.endswith("`ulimit -v` or `ulimit -d` allows 256MiB")
    caplog.clear()
    # Workers of a scheduler have memory of their own.
    elsewhere = {"workers": None, "scheduler": "tcp://127.0.0.1:1"}
    check(monkeypatch, plan, tmp_path, replace(LARGE, memory_bytes=1 << 29), **elsewhere)
    assert not caplog.records
    check(monkeypatch, plan, tmp_path, replace(LARGE, memory_bytes=1 << 28), **elsewhere)
    (line,) = (record.getMessage() for record in caplog.records)
    assert "memory: the command takes about " in line
    assert line.endswith("there are 256MiB")


def test_nothing_is_measured_where_the_machine_is_large_enough_by_sizes_alone(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(module, "make_estimate", fail)
    check(monkeypatch, plan, tmp_path, LARGE)


def test_the_machine_is_looked_at_by_the_build_that_holds_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of another build that runs there come and go."""
    declared = mixture(tmp_path)
    declared = replace(declared, sources=declared.sources[1:])
    looked: list[Path] = []

    def look(plan: Plan, out: Path, **_: object) -> None:
        looked.append(out)
        raise OutputError("no room")

    monkeypatch.setattr(run, "check_machine", look)
    options: Any = {"workers": 1, "scheduler": None, "report": lambda *_: None}
    (tmp_path / "near" / "a.jsonl").write_text('{"id": "a", "text": "b"}\n')
    out = tmp_path / "out"
    with (
        lock_output(out, declared.fingerprint),
        pytest.raises(OutputError, match="another build is running here"),
    ):
        run.build(declared, out, **options)
    assert not looked
    with pytest.raises(OutputError, match="no room"):
        run.build(declared, out, **options)
    assert looked == [out]
    # It leaves the folder to any other build.
    assert not State(out=out).root.exists()
