"""The output lock: a folder is for one mixture, and for one build at a time."""

import errno
import fcntl
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.load import load_mixture
from pipeline.config.mixture import Mixture
from pipeline.core.errors import ConfigError, OutputError
from pipeline.dataset import VALIDATION, State
from pipeline.runner import output_lock
from pipeline.runner.output_lock import lock_output, refuse_nested, release

MIXTURE = b"""\
name: claimed
chunk: {size: 16}
sources: {s: {from: {path: s.txt}}}
order: {seed: 1, global_batch_size: 1, max_seq_len: 16}
"""


def _mixture(name: bytes = b"claimed") -> Mixture:
    return load_mixture(Path("claimed.yaml"), text=MIXTURE.replace(b"claimed", name))


def _fail(out: Path, made: Callable[[State], Path]) -> None:
    """Fail in a build with validation that has made one file."""
    with lock_output(out, _mixture().fingerprint) as state, lock_output(out / VALIDATION, "other"):
        path = made(state)
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
        raise ConfigError("no budget")


def test_a_folder_is_held_by_one_build_at_a_time(tmp_path: Path) -> None:
    with (
        lock_output(tmp_path / "out", _mixture().fingerprint) as state,
        pytest.raises(OutputError, match=r"out: another build is running here\nhint: wait for it"),
        lock_output(tmp_path / "out", _mixture().fingerprint),
    ):
        pass
    with lock_output(tmp_path / "out", _mixture().fingerprint):
        release(state)
    assert list((tmp_path / "out").iterdir()) == []


def test_state_that_cannot_be_removed_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(path: str, **_: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    with lock_output(tmp_path / "out", _mixture().fingerprint) as state:
        record = state.records / "one.log"
        record.parent.mkdir(exist_ok=True)
        record.write_text("{}")
        with monkeypatch.context() as patch:
            patch.setattr(os, "rmdir", fail)
            release(state)
    assert re.search("and [1-9] more cannot be removed: run the same command again", caplog.text)
    assert not (state.root / "lock").exists()


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
        pytest.raises(OutputError, match="another build is running here"),
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


def test_a_build_that_fails_before_it_makes_anything_leaves_no_claim(tmp_path: Path) -> None:
    out, there = tmp_path / "out", tmp_path / "there"
    there.mkdir()
    for folder in (out, there):
        with pytest.raises(ConfigError):
            _fail(folder, lambda state: state.scratch / "half")
    assert list(tmp_path.rglob("*")) == [there]
    # As does one that was killed.
    with lock_output(out, _mixture().fingerprint):
        pass
    with lock_output(out, _mixture(b"other").fingerprint):
        pass


def test_a_build_that_fails_after_it_made_something_keeps_its_claim(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConfigError):
        _fail(out, lambda state: state.records / "one.log")
    assert (State(out=out).records / "one.log").exists()
    with pytest.raises(OutputError, match="holds another mixture"), lock_output(out, "other"):
        pass


def test_an_unfinished_folder_belongs_to_its_mixture(tmp_path: Path) -> None:
    with lock_output(tmp_path / "out", _mixture().fingerprint) as state:
        state.records.mkdir()
        (state.records / "one.log").write_text("{}")
    with (
        pytest.raises(OutputError, match="holds another mixture"),
        lock_output(tmp_path / "out", _mixture(b"other").fingerprint),
    ):
        pass


@pytest.mark.parametrize("name", [".ettin", ".ettin/lock", ".ettin/tmp", ".ettin/records/a.log"])
def test_nothing_of_a_stranger_is_opened_or_removed_through_a_link(
    tmp_path: Path, name: str
) -> None:
    stranger, link = tmp_path / "stranger", tmp_path / "out" / name
    is_file = Path(name).name in ("lock", "a.log")
    kept = stranger if is_file else stranger / "tmp" / "kept"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text("theirs")
    link.parent.mkdir(parents=True)
    link.symlink_to(stranger)
    with (
        pytest.raises(OutputError, match=rf"out/{name}: got a link to .*stranger, expected what"),
        lock_output(tmp_path / "out", _mixture().fingerprint),
    ):
        pass
    assert kept.read_text() == "theirs"
    assert link.is_symlink()


def test_a_lock_that_is_a_link_by_now_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_lock, "_refuse_links", lambda state: None)
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "out" / ".ettin").mkdir(parents=True)
    (tmp_path / "out" / ".ettin" / "lock").symlink_to(tmp_path / "theirs")
    with (
        pytest.raises(OutputError, match="lock: got a link to"),
        lock_output(tmp_path / "out", _mixture().fingerprint),
    ):
        pass
    assert (tmp_path / "theirs").read_text() == "theirs"


@pytest.mark.parametrize("inside", [".ettin", "sub", "train/new", "validation/deep/er"])
def test_an_output_inside_another_is_refused(inside: str, tmp_path: Path) -> None:
    (tmp_path / "out" / "order").mkdir(parents=True)
    (tmp_path / "out" / "manifest.json").write_text('{"format": "damaged"}')
    with pytest.raises(OutputError, match=r"lies in .*out, the output of a build"):
        refuse_nested(tmp_path / "out" / inside)
    (tmp_path / "link").symlink_to(tmp_path / "out")
    with pytest.raises(OutputError, match=r"lies in .*out, the output of a build"):
        refuse_nested(tmp_path / "link" / inside)
    (tmp_path / "begun" / ".ettin").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"lies in .*begun, the output of a build"):
        refuse_nested(tmp_path / "begun" / inside)
    refuse_nested(tmp_path / "out")
    refuse_nested(tmp_path / "other" / inside)


def test_an_output_of_no_utf_8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="got a path that is not UTF-8"):
        refuse_nested(tmp_path / os.fsdecode(b"\xff"))
