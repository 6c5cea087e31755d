"""The task cache: records are used while their key, their files and they themselves are intact."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.core.digest import FileDigest
from pipeline.core.file_system import Sync
from pipeline.core.record_log import open_log
from pipeline.dataset import State
from pipeline.runner import task_cache
from pipeline.runner.task_cache import (
    AnyRecord,
    TaskRecord,
    below,
    files_of,
    has_record,
    has_records_below,
    load_cached,
    publish_output,
    recording,
    restore_all,
    save_record,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted(TaskRecord):
    count: int


@pytest.fixture
def state(tmp_path: Path) -> State:
    """A state with one record, of a task that wrote one file."""
    state = State(out=tmp_path)
    (tmp_path / "file").write_text("content")
    files = {"file": FileDigest.of(tmp_path / "file")}
    save_record(state, "task", Counted(key="k", count=12, files=files))
    return state


def test_a_record_is_used_while_its_files_are_intact(state: State) -> None:
    record = load_cached(state, "task", "k", Counted, hashes_all=False)
    assert record is not None
    assert record.count == 12
    assert load_cached(state, "task", "another key", Counted, hashes_all=False) is None
    assert load_cached(state, "another task", "k", Counted, hashes_all=False) is None
    (state.out / "file").write_text("Content")
    assert load_cached(state, "task", "k", Counted, hashes_all=False) is None
    (state.out / "file").unlink()
    assert load_cached(state, "task", "k", Counted, hashes_all=False) is None


def test_no_damage_to_a_record_goes_unseen(state: State) -> None:
    [path] = state.records.iterdir()
    data = path.read_bytes()
    assert b'"count":12' in data
    for place in range(len(data)):
        for bit in range(8):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
            record = load_cached(state, "task", "k", Counted, hashes_all=False)
            # White space around it may change.
            assert record is None or record.count == 12, (place, bit)
        path.write_bytes(data[:place])
        assert load_cached(state, "task", "k", Counted, hashes_all=False) is None


def test_of_the_records_of_a_task_that_whose_files_are_there_is_used(state: State) -> None:
    other = {"file": FileDigest.of_bytes(b"other")}
    save_record(state, "task", Counted(key="k", count=13, files=other))
    save_record(state, "task", Counted(key="another key", count=14, files=other))
    for content, count in (("content", 12), ("other", 13), ("content", 12)):
        (state.out / "file").write_text(content)
        record = load_cached(state, "task", "k", Counted, hashes_all=False)
        assert record is not None
        assert record.count == count


def test_restored_records_are_made_durable_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []

    @contextmanager
    def syncing(_: Path) -> Iterator[Sync]:
        yield lambda paths: synced.extend(paths) is None

    monkeypatch.setattr(task_cache, "syncing", syncing)
    state = State(out=tmp_path)
    restore_all(state, ((f"a/{n}", Counted(key="k", count=n, files={})) for n in range(5)))
    assert synced == list(state.records.iterdir())
    record = load_cached(state, "a/3", "k", Counted, hashes_all=False)
    assert record is not None
    assert record.count == 3
    assert has_records_below(state, "a")
    assert not has_records_below(state, "a/3")


def test_a_record_is_known_whatever_became_of_its_files(state: State) -> None:
    (state.out / "file").unlink()
    assert has_record(state, "task", "k")
    assert not has_record(state, "task", "another key")


def test_files_of_records_are_named_by_their_folders() -> None:
    a, b, c = (FileDigest.of_bytes(name) for name in (b"a", b"b", b"c"))
    named = below("x/y", {"b": b, "a": a}, {"c": c})
    assert [*named.items()] == [("x/y/a", a), ("x/y/b", b), ("x/y/c", c)]
    records = [TaskRecord(key="", files=files) for files in (named, {"z": a})]
    assert files_of(records) == {**named, "z": a}


def test_a_record_is_saved_once_its_files_are_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, done = State(out=tmp_path), list[str]()

    @contextmanager
    def syncing(folder: Path) -> Iterator[Sync]:
        done.append(f"open {folder.relative_to(tmp_path)}")

        def sync(paths: Iterable[Path]) -> bool:
            done.extend(f"sync {path.relative_to(tmp_path)}" for path in paths)
            return True

        yield sync

    def save(_: State, name: str, record: AnyRecord) -> None:
        done.append(f"save {name}")

    monkeypatch.setattr(task_cache, "syncing", syncing)
    monkeypatch.setattr(task_cache, "save_record", save)
    with recording(state, "task") as save_:
        done.append("write")
        save_(TaskRecord(key="", files={"a/b": FileDigest.of_bytes(b"")}))
    assert done == ["open .", "write", "sync a/b", "save task"]
    # With the next one, what was saved before.
    open_log(state.records).add({"earlier": 1}.items())
    done.clear()
    with recording(state, "task") as save_:
        save_(TaskRecord(key="", files={}))
    assert done == [
        "open .",
        f"sync {open_log(state.records).own.relative_to(tmp_path)}",
        "save task",
    ]


def test_an_output_that_is_right_is_not_written_again(tmp_path: Path) -> None:
    state = State(out=tmp_path)
    first = publish_output(state, "a/b", b"data")
    inode = (tmp_path / "a" / "b").stat().st_ino
    expected = {"a/b": FileDigest.of(tmp_path / "a" / "b")}
    assert publish_output(state, "a/b", b"data") == first == expected
    assert (tmp_path / "a" / "b").stat().st_ino == inode
    publish_output(state, "a/b", b"other")
    assert (tmp_path / "a" / "b").read_bytes() == b"other"
