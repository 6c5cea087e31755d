"""Files of an earlier run: which are taken as they are, which are hashed, and what is found."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import file_system
from pipeline.core.digest import FileDigest, TrustedDigest, trusted_bytes
from pipeline.core.record_log import open_log
from pipeline.dataset import State
from pipeline.runner import task_cache
from pipeline.runner.task_cache import TaskRecord, load_cached, log_trusted, recording, save_record

NAME, KEY = "a/file", "key"


@pytest.fixture(scope="module", autouse=True)
def a_disk_that_syncs() -> Iterator[None]:
    """Sync nothing, which takes long, on a file system that has `syncfs`."""
    with (
        mock.patch.object(file_system, "has_syncfs", return_value=True),
        mock.patch.object(file_system, "syncfs"),
    ):
        yield


def write(out: Path, data: bytes) -> State:
    """Write a file as a task does, and save its record."""
    out.mkdir(exist_ok=True)
    state = State(out=out)
    with recording(state, "task") as save:
        (out / NAME).parent.mkdir(parents=True, exist_ok=True)
        (out / NAME).write_bytes(data)
        save(TaskRecord(key=KEY, files={NAME: FileDigest.of_bytes(data)}))
    return state


def found(state: State, *, hashes_all: bool = False) -> FileDigest | None:
    """Return what a later run says of the file; None where it makes it anew."""
    record = load_cached(state, "task", KEY, TaskRecord, hashes_all=hashes_all)
    return None if record is None else record.files[NAME]


def in_place(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.write(data)
        file.truncate()


def replaced(path: Path, data: bytes) -> None:
    other = path.with_name("other")
    other.write_bytes(data)
    other.rename(path)


WRITERS = {"in place": in_place, "by another file": replaced}


@given(
    before=st.binary(min_size=1, max_size=9),
    after=st.binary(max_size=9),
    how=st.sampled_from(sorted(WRITERS)),
    later_ns=st.sampled_from([0, 0, 1, -1, 10**9]),
)
def test_what_changes_size_mtime_or_inode_is_found_and_the_rest_by_a_check(
    before: bytes,
    after: bytes,
    how: str,
    later_ns: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    state = write(tmp_path_factory.mktemp("out"), before)
    path = state.out / NAME
    old = path.stat()
    WRITERS[how](path, after)
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns + later_ns))
    shows = len(after) != len(before) or how == "by another file" or later_ns
    if shows:
        assert type(found(state)) is (FileDigest if after == before else type(None))
    else:
        assert isinstance(found(state), TrustedDigest)
    # A check reads all of them.
    assert type(found(state, hashes_all=True)) is (FileDigest if after == before else type(None))


@pytest.mark.parametrize("remove", [os.remove, lambda path: os.rename(path, f"{path}.away")])
def test_a_file_that_is_gone_is_made_anew(remove: Callable[[Path], None], tmp_path: Path) -> None:
    state = write(tmp_path, b"data")
    remove(tmp_path / NAME)
    assert found(state) is None
    (tmp_path / NAME).mkdir()
    assert found(state) is None


def test_what_was_not_synced_is_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each file was, but such a file system may be a server's, which keeps them in memory.
    monkeypatch.setattr(file_system, "has_syncfs", lambda _: False)
    state = write(tmp_path / "by file", b"data")
    assert type(found(state)) is FileDigest
    monkeypatch.undo()
    state = write(tmp_path / "by record", b"data")
    # The last record is the one that counts, such as a manifest's.
    save_record(state, "task", TaskRecord(key=KEY, files={NAME: FileDigest.of_bytes(b"data")}))
    assert type(found(state)) is FileDigest


def test_what_is_written_while_the_disk_is_synced_is_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / NAME

    def syncfs(_: int) -> None:
        mtime_ns = path.stat().st_mtime_ns
        path.write_bytes(b"date")
        os.utime(path, ns=(mtime_ns + 1, mtime_ns + 1))

    monkeypatch.setattr(file_system, "syncfs", syncfs)
    state = write(tmp_path, b"data")
    assert found(state) is None


def test_a_record_without_facts_of_an_older_version_is_read(tmp_path: Path) -> None:
    state = write(tmp_path, b"data")
    [saved] = open_log(state.records).find("task")
    assert saved["files"][NAME].keys() == {"bytes", "sha256", "mtime_ns", "inode"}
    for name in ("mtime_ns", "inode"):
        del saved["files"][NAME][name]
    open_log(state.records).add([("task", saved)])
    assert type(found(state)) is FileDigest
    open_log(state.records).add([("task", {"key": KEY, "files": [NAME]})])
    assert type(found(state)) is FileDigest


def test_a_twin_that_replaces_the_file_costs_no_more_than_a_hash(tmp_path: Path) -> None:
    state = State(out=tmp_path)
    with recording(state, "task") as save:
        save(TaskRecord(key=KEY, files={NAME: FileDigest.of_bytes(b"data")}))
    (tmp_path / NAME).parent.mkdir()
    (tmp_path / NAME).write_bytes(b"data")
    assert type(found(state)) is FileDigest


def test_the_log_names_each_file_that_was_trusted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    digests = {"é": TrustedDigest(num_bytes=3, sha256=""), "b": FileDigest.of_bytes(b"")}
    log_trusted([TaskRecord(key="", files=digests), TaskRecord(key="", files={})])
    [line] = caplog.messages
    assert json.loads(line) == {"trusted": {"é": 3}}
    assert line.isascii()
    assert trusted_bytes(digests) == {"é": 3}


def test_what_only_sampling_reads_goes_once_all_records_are_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, done = State(out=tmp_path), list[str]()
    kept = [state.scan("a", "b"), state.table("train/a"), tmp_path / "train/a/index.json"]
    gone = [tmp_path / state.chunks("a", "b"), tmp_path / state.holdout_chunks("a", "b"),
            tmp_path / state.digests(state.chunks("a", "b")),
            state.table(state.chunks("a", "b"))]  # fmt: skip
    for path in (*kept, *gone):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    remove = task_cache.remove_folder
    monkeypatch.setattr(file_system, "syncfs", lambda _: done.append("sync"))

    def note(path: Path) -> None:
        done.append("remove")
        remove(path)

    monkeypatch.setattr(task_cache, "remove_folder", note)
    state.records.mkdir(parents=True)
    task_cache.remove_sampled(state)
    assert [path.exists() for path in (*kept, *gone)] == [True] * 3 + [False] * 4
    assert done == ["sync"] + ["remove"] * 4
    task_cache.remove_sampled(state)
    assert len(done) == 5
