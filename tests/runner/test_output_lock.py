"""An output folder is for one mixture and one build at a time, and its records stand or fall."""

import fcntl
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.load import load_mixture
from pipeline.config.mixture import Mixture
from pipeline.core.errors import OutputError
from pipeline.dataset import describe_file
from pipeline.dataset.paths import State
from pipeline.runner.output_lock import lock_output, release
from pipeline.runner.task_cache import load_cached, save_record

MIXTURE = b"""\
name: claimed
chunk: {size: 16}
sources: {s: {from: {path: s.txt}}}
order: {seed: 1, global_batch_size: 1, max_seq_len: 16}
"""


def _mixture(name: bytes = b"claimed") -> Mixture:
    return load_mixture(Path("claimed.yaml"), text=MIXTURE.replace(b"claimed", name))


def test_a_folder_is_held_by_one_build_at_a_time(tmp_path: Path) -> None:
    with (
        lock_output(tmp_path / "out", _mixture().fingerprint) as state,
        pytest.raises(OutputError, match=r"out: another build is at work here\nhint: wait for it"),
        lock_output(tmp_path / "out", _mixture().fingerprint),
    ):
        pass
    with lock_output(tmp_path / "out", _mixture().fingerprint):
        release(state)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_build_that_ends_as_another_begins_leaves_the_folder_to_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one's lock may be the file that the first has just taken away."""
    lock = fcntl.flock

    def lock_late(file: Any, operation: int) -> None:
        (tmp_path / "out" / ".ettin" / "lock").unlink()
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    with (
        pytest.raises(OutputError, match="another build is at work here"),
        lock_output(tmp_path / "out", _mixture().fingerprint),
    ):
        pass


def test_what_a_killed_build_was_writing_cannot_be_published_any_more(tmp_path: Path) -> None:
    with lock_output(tmp_path / "out", _mixture().fingerprint) as state:
        state.scratch.mkdir(exist_ok=True)
        (state.scratch / "half").write_text("half")
    with lock_output(tmp_path / "out", _mixture().fingerprint) as state:
        assert not (state.scratch / "half").exists()
        assert not (state.root / "stale").exists()


def test_an_unfinished_folder_belongs_to_its_mixture(tmp_path: Path) -> None:
    with lock_output(tmp_path / "out", _mixture().fingerprint):
        pass
    with (
        pytest.raises(OutputError, match="holds another mixture"),
        lock_output(tmp_path / "out", _mixture(b"other").fingerprint),
    ):
        pass


@pytest.fixture
def state(tmp_path: Path) -> State:
    """A state with one record, of a task that wrote one file."""
    state = State(out=tmp_path)
    (tmp_path / "file").write_text("content")
    files = {"file": describe_file(tmp_path / "file")}
    save_record(state, "task", {"key": "k", "count": 12, "files": files})
    return state


def test_a_record_stands_while_its_files_do(state: State) -> None:
    record = load_cached(state, "task", "k")
    assert record is not None
    assert record["count"] == 12
    assert load_cached(state, "task", "another key") is None
    assert load_cached(state, "another task", "k") is None
    (state.out / "file").write_text("Content")
    assert load_cached(state, "task", "k") is None
    (state.out / "file").unlink()
    assert load_cached(state, "task", "k") is None


def test_no_damage_to_a_record_goes_unseen(state: State) -> None:
    path = state.record("task")
    data = path.read_bytes()
    assert json.loads(data)["record"]["count"] == 12
    for place in range(len(data)):
        for bit in range(8):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
            record = load_cached(state, "task", "k")
            # White space and the case of an escape may change; what is said may not.
            assert record is None or record["count"] == 12, (place, bit)
        path.write_bytes(data[:place])
        assert load_cached(state, "task", "k") is None
