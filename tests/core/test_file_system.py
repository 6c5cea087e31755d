"""What is written is made durable by one call, or file by file where that may not work."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.core import file_system
from pipeline.core.errors import OutputError
from pipeline.core.file_system import has_syncfs, syncing

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="syncfs is a call of Linux")


def _synced(
    monkeypatch: pytest.MonkeyPatch, folder: Path, names: list[str], *, at_once: bool
) -> list[str]:
    """Write files, make them durable, and return what was synced how."""
    calls: list[str] = []

    def note(name: str) -> Callable[[int], None]:
        def call(file: int) -> None:
            path = Path(os.readlink(f"/proc/self/fd/{file}"))
            calls.append(f"{name} {path.relative_to(folder)}")

        return call

    monkeypatch.setattr(file_system, "has_syncfs", lambda _: at_once)
    monkeypatch.setattr(file_system, "syncfs", note("syncfs"))
    monkeypatch.setattr(os, "fsync", note("fsync"))
    with syncing(folder) as sync:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
        assert sync(folder / name for name in names) is at_once
    return calls


@needs_linux
def test_all_is_made_durable_by_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a/b/c", "a/b/d", "e"]
    assert _synced(monkeypatch, tmp_path, names, at_once=True) == ["syncfs ."]


@needs_linux
def test_without_syncfs_each_file_is_synced_and_each_folder_that_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = _synced(monkeypatch, tmp_path, ["a/b/c", "a/b/d", "e"], at_once=False)
    paths = [call.removeprefix("fsync ") for call in calls]
    assert sorted(paths) == [".", "a", "a/b", "a/b/c", "a/b/d", "e"]
    # What is in a folder comes before the folder.
    assert all(paths.index(path) < paths.index(Path(path).parent.as_posix())
               for path in paths if path != ".")  # fmt: skip


@needs_linux
def test_the_file_system_is_open_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an error before that another process may have been told."""
    calls: list[str] = []
    real = os.open

    def open_(path: Path, flags: int) -> int:
        calls.append(f"open {path.name}")
        return real(path, flags)

    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(file_system, "has_syncfs", lambda _: True)
    monkeypatch.setattr(file_system, "syncfs", lambda _: calls.append("syncfs"))
    with syncing(tmp_path) as sync:
        calls.append("write")
        sync([])
    assert calls == [f"open {tmp_path.name}", "write", "syncfs"]


@needs_linux
def test_syncfs_is_called(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    file_system.syncfs(descriptor)
    os.close(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        file_system.syncfs(descriptor)
    assert caught.value.errno == errno.EBADF


@needs_linux
@pytest.mark.parametrize(
    ("release", "kind", "expected"),
    [
        ("6.18.4-1-generic", 0xEF53, True),
        ("5.17.0", 0xEF53, True),
        ("5.16.20", 0xEF53, False),
        ("5.8.0", 0xEF53, False),
        ("4.18.0-553.el8", 0xEF53, False),
        ("6.18.4", 0x65735546, False),
        ("6.18.4", 0x794C7630, False),
        ("6.18.4", None, False),
    ],
)
def test_syncfs_counts_only_where_it_tells_of_errors(
    release: str, kind: int | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = os.uname()
    system = os.uname_result((names.sysname, names.nodename, release, *names[3:]))
    monkeypatch.setattr(os, "uname", lambda: system)
    monkeypatch.setattr(file_system, "_kind_of", lambda _: kind)
    assert has_syncfs(0) is expected


@needs_linux
def test_the_kind_of_a_file_system_is_read() -> None:
    descriptor = os.open("/proc", os.O_RDONLY)
    try:
        assert file_system._kind_of(descriptor) == 0x9FA0
    finally:
        os.close(descriptor)
    assert file_system._kind_of(descriptor) is None


@pytest.mark.parametrize("at_once", [True, False])
def test_a_disk_that_fails_then_is_said_in_one_line(
    at_once: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(file_system, "has_syncfs", lambda _: at_once)
    monkeypatch.setattr(file_system, "syncfs", fail)
    monkeypatch.setattr(os, "fsync", fail)
    with (
        syncing(tmp_path) as sync,
        pytest.raises(OutputError, match="the disk fails: Input/output error"),
    ):
        sync([])
