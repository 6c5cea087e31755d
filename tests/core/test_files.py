"""Files appear whole or not at all, and what stops them is said in one line."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from errno import ESTALE
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.errors import OutputError
from pipeline.core.files import (
    load_array,
    load_sealed,
    open_below,
    publish,
    publish_beside,
    read_array,
    read_sealed,
    save_array,
    save_sealed,
    writing,
)


def _write(path: Path, content: str, scratch: Path) -> None:
    with publish(path, scratch) as temporary:
        temporary.write_text(content)


def _fail_half_way(path: Path, scratch: Path, error: Exception) -> None:
    with publish(path, scratch) as temporary:
        temporary.write_text("half")
        raise error


def _os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def test_a_file_replaces_what_stood_there_and_leaves_no_temporary_one(tmp_path: Path) -> None:
    path, scratch = tmp_path / "deep" / "file", tmp_path / "scratch"
    _write(path, "first", scratch)
    _write(path, "second", scratch)
    assert path.read_text() == "second"
    assert list(scratch.iterdir()) == []


def test_a_folder_a_file_and_a_link_take_each_others_place(tmp_path: Path) -> None:
    path, scratch = tmp_path / "place", tmp_path / "scratch"
    _write(path, "a file", scratch)
    with publish(path, scratch) as temporary:
        temporary.mkdir()
        (temporary / "inside").write_text("a folder")
    assert (path / "inside").read_text() == "a folder"
    _write(path, "a file again", scratch)
    assert path.read_text() == "a file again"
    path.unlink()
    path.symlink_to("nowhere")
    with publish(path, scratch) as temporary:
        temporary.mkdir()
    assert path.is_dir()
    assert not path.is_symlink()


def test_a_file_beside_others_replaces_no_folder(tmp_path: Path) -> None:
    (tmp_path / "curves.svg").mkdir()
    (tmp_path / "curves.svg" / "kept").touch()
    with (
        pytest.raises(OutputError, match=r"curves\.svg: got a folder, expected a file, or nothing"),
        publish_beside(tmp_path / "curves.svg") as temporary,
    ):
        temporary.touch()
    assert (tmp_path / "curves.svg" / "kept").exists()


def test_what_fails_half_way_changes_nothing(tmp_path: Path) -> None:
    path, scratch = tmp_path / "file", tmp_path / "scratch"
    _write(path, "whole", scratch)
    with pytest.raises(KeyError):
        _fail_half_way(path, scratch, KeyError())
    assert path.read_text() == "whole"
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "file: the disk is full\nhint: make room and run the same command again"),
        (errno.EDQUOT, "file: the disk is full"),
        (errno.EFBIG, "file: the disk is full"),
        (errno.EROFS, "file: got Read-only file system, expected a writable folder\nhint: choose"),
        (errno.EACCES, "file: got Permission denied, expected a writable folder"),
        (
            errno.ENAMETOOLONG,
            "file: got a name too long for the file system\nhint: shorten the name",
        ),
    ],
)
def test_what_a_person_can_mend_is_said_in_one_line(
    number: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match=message):
        _fail_half_way(tmp_path / "file", tmp_path / "scratch", _os_error(number))
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not (tmp_path / "file").exists()


def test_a_disk_that_fills_while_syncing_is_full_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OutputError, match="the disk is full"):
        _write(tmp_path / "file", "content", tmp_path / "scratch")
    assert not (tmp_path / "file").exists()


def test_a_failing_disk_is_told_in_words(tmp_path: Path) -> None:
    for number, words in ((errno.EIO, "Input/output error"), (errno.ESTALE, "Stale file handle")):
        with pytest.raises(OutputError, match=f"the disk fails: {words}"):
            _fail_half_way(tmp_path / "file", tmp_path / "scratch", _os_error(number))


def test_other_errors_of_the_system_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Invalid cross-device link"):
        _fail_half_way(tmp_path / "file", tmp_path / "scratch", _os_error(errno.EXDEV))


def test_a_name_as_long_as_a_name_can_be_is_published(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    _write(path, "content", tmp_path / "scratch")
    assert path.read_text() == "content"


@pytest.mark.parametrize("shape", [0, 5])
def test_saved_arrays_read_back(shape: int, tmp_path: Path) -> None:
    records = np.zeros(shape, [("length", "<u4"), ("flag", "?"), ("hash", "<u8")])
    records["hash"] = np.arange(shape)
    for array in (records, np.arange(shape, dtype=np.uint32)):
        save_array(tmp_path / "array", array)
        loaded = np.load(tmp_path / "array")
        assert loaded.dtype == array.dtype
        assert loaded.tolist() == array.tolist()


def test_a_full_disk_is_told_of_arrays_too(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no device that is always full")
    with pytest.raises(OSError, match="No space left on device") as caught:
        save_array(Path("/dev/full"), np.zeros(100_000))
    assert caught.value.errno == errno.ENOSPC


def test_trouble_that_nobody_knows_is_raised_as_it_is(tmp_path: Path) -> None:
    unknown = OSError(errno.EXDEV, "Invalid cross-device link")
    with pytest.raises(OSError, match="Invalid cross-device link") as caught, writing(tmp_path):
        raise unknown
    # An error that is its own cause sends whoever follows causes in circles.
    assert caught.value is unknown
    assert unknown.__cause__ is None


def test_nothing_is_published_through_a_link(tmp_path: Path) -> None:
    stranger, ours = tmp_path / "stranger", tmp_path / "ours"
    (stranger / "train").mkdir(parents=True)
    (stranger / "train" / "file").write_text("theirs")
    ours.mkdir()
    (ours / "linked").symlink_to(stranger)
    (ours / "scratch").symlink_to(stranger)
    for path in ("linked/train/file", "linked/new/file"):
        with pytest.raises(OutputError, match="ours/linked: got a link to"):
            _write(ours / path, "ours", ours / "tmp")
    with pytest.raises(OutputError, match="ours/scratch: got a link to"):
        _write(ours / "file", "ours", ours / "scratch")
    assert (stranger / "train" / "file").read_text() == "theirs"
    assert [path.name for path in stranger.iterdir()] == ["train"]
    # The folder itself may be linked, and a link in the place of a file is replaced.
    (tmp_path / "moved").symlink_to(ours)
    (ours / "file").symlink_to(stranger / "train" / "file")
    _write(tmp_path / "moved" / "file", "ours", tmp_path / "moved" / "tmp")
    assert (ours / "file").read_text() == "ours"
    assert (stranger / "train" / "file").read_text() == "theirs"
    (ours / "folder").symlink_to(stranger)
    _write(ours / "folder", "ours", ours / "tmp")
    assert (ours / "folder").read_text() == "ours"
    assert list((ours / "tmp").iterdir()) == []


@pytest.mark.parametrize("name", ["a/b/file", "a/linked/file", "a/link"])
def test_a_file_below_a_folder_of_ours_is_opened_through_no_link(tmp_path: Path, name: str) -> None:
    ours, stranger = tmp_path / "ours", tmp_path / "stranger"
    stranger.mkdir()
    (ours / "a").mkdir(parents=True)
    (ours / "a" / "linked").symlink_to(stranger)
    (ours / "a" / "link").symlink_to(stranger / "file")
    if "link" in name:
        with pytest.raises(OutputError, match="got a link to"):
            open_below(ours, ours / name, os.O_RDWR | os.O_CREAT)
        assert list(stranger.iterdir()) == []
    else:
        os.close(open_below(ours, ours / name, os.O_RDWR | os.O_CREAT))
        assert (ours / name).exists()


@pytest.mark.parametrize("num_stale", [1, 2, 3])
def test_a_stale_file_is_opened_again(
    num_stale: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, real = [ESTALE] * num_stale, Path.open

    def open_(path: Path, *how: Any) -> BinaryIO:
        if left:
            raise _os_error(left.pop())
        return cast(BinaryIO, real(path, *how))

    path = tmp_path / "array"
    save_array(path, np.arange(3))
    monkeypatch.setattr(Path, "open", open_)
    if num_stale < 3:
        assert load_array(path).tolist() == [0, 1, 2]
    else:
        with pytest.raises(OutputError, match=r"Stale file handle\nhint: run the same command"):
            load_array(path)


@pytest.mark.parametrize("load", [load_sealed, read_sealed])
def test_any_damage_of_a_sealed_array_is_said(
    tmp_path: Path, load: Callable[[Path], NDArray[Any]]
) -> None:
    path, array = tmp_path / "array", np.arange(5, dtype=np.uint32).view([("row", "<u4")])
    save_sealed(path, array)
    whole = path.read_bytes()
    assert load(path).tolist() == array.tolist()
    damaged = [whole[:size] for size in range(len(whole))]
    damaged += [
        whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        for place in range(len(whole))
    ]
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(OutputError, match=r"array: got damaged work .*\nhint: run the same"):
            load(path)


@pytest.mark.parametrize("load", [load_array, read_array])
def test_a_damaged_array_is_said_in_one_line(
    tmp_path: Path, load: Callable[[Path], NDArray[Any]]
) -> None:
    path = tmp_path / "array"
    array = np.zeros(3, [("row", "<u4"), ("reason", "<u2")])
    save_array(path, array)
    whole = path.read_bytes()
    assert load(path).tolist() == array.tolist()
    damaged = [whole[:size] for size in range(len(whole))]
    damaged += [whole[:place] + b"\0" + whole[place + 1 :] for place in range(128)]
    for data in damaged:
        path.write_bytes(data)
        # Some bytes of the header, such as blanks, decide nothing.
        with suppress(OutputError):
            assert len(load(path)) <= 3
    path.unlink()
    with pytest.raises(OutputError, match=r"array: got damaged work .*\nhint: run the same"):
        load(path)
