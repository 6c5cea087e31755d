"""Cells are read as they were written, by one ranged read, and damage is said in one line."""

import errno
import os
from collections.abc import Callable
from errno import ESTALE
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.core import cells as module
from pipeline.core import files
from pipeline.core.cells import Cell, CellFormat, CellReader, has_cells, publish_cells
from pipeline.core.errors import OutputError

RECORD = np.dtype([("a", "<u4"), ("b", "u1")])
ARRAYS = {"positions": np.dtype("<i8"), "ids": np.dtype("<u2"), "records": RECORD}


def make(number: int) -> Cell:
    """Return a cell of arrays of different lengths, some empty."""
    return {
        "positions": np.arange(number),
        "ids": np.arange(3 * number + 1) % 1000,
        "records": np.full(number % 3, 7).astype(RECORD),
    }


def form(num_cells: int = 5, key: str = "k") -> CellFormat:
    return CellFormat(key=key, arrays=ARRAYS, num_cells=num_cells)


def write(folder: Path, num_cells: int = 5) -> Path:
    path = folder / "run"
    publish_cells(path, folder / "tmp", form(num_cells), map(make, range(num_cells)))
    return path


def equal(got: Cell, expected: Cell) -> bool:
    return got.keys() == expected.keys() and all(
        got[name].dtype == ARRAYS[name]
        and got[name].tolist() == expected[name].astype(ARRAYS[name]).tolist()
        for name in ARRAYS
    )


@QUICK
@given(num_cells=st.integers(0, 9), data=st.data())
def test_any_run_of_cells_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, num_cells: int, data: st.DataObject
) -> None:
    path = write(tmp_path_factory.mktemp("cells"), num_cells)
    first = data.draw(st.integers(0, num_cells))
    stop = data.draw(st.integers(first, num_cells))
    with CellReader(path, form(num_cells)) as reader:
        got = reader.read(first, stop)
    expected = [make(number) for number in range(first, stop)]
    assert len(got) == len(expected)
    assert all(map(equal, got, expected))
    # Compiled loops take them: aligned, and not read-only.
    assert all(
        array.flags.aligned and array.flags.writeable for one in got for array in one.values()
    )


def test_a_file_is_opened_once_and_a_run_of_cells_takes_one_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path)
    calls: list[int] = []

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            calls.append(1)
            return function(*arguments)

        return call

    monkeypatch.setattr(module.os, "pread", counted(os.pread))
    monkeypatch.setattr(module.os, "preadv", counted(os.preadv))
    with CellReader(path, form()) as reader:
        assert len(calls) == 1
        reader.read(1, 4)
    assert len(calls) == 2


def test_a_file_that_was_closed_is_opened_for_each_read(tmp_path: Path) -> None:
    with CellReader(write(tmp_path), form()) as reader:
        reader.close()
        for first in (3, 0):
            assert all(map(equal, reader.read(first, 5), map(make, range(first, 5))))


def test_too_many_open_files_are_no_damage_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(module, "open_scratch", fail)
    with pytest.raises(OSError, match="Too many open files"):
        has_cells(path, form())
    with pytest.raises(OSError, match="Too many open files"):
        CellReader(path, form())
    monkeypatch.setattr(files, "open_scratch", fail)
    with pytest.raises(OSError, match="Too many open files"):
        files.load_array(path)


def test_a_file_of_other_inputs_or_none_counts_as_missing(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert has_cells(path, form())
    assert not has_cells(path, form(key="other"))
    assert not has_cells(path, form(num_cells=4))
    assert not has_cells(tmp_path / "none", form())


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY", b"ettin-cells-v1\n\0", b"\0" * 4096])
def test_what_is_no_file_of_cells_is_said_in_one_line_and_removed(
    tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / "run"
    path.write_bytes(data)
    assert not has_cells(path, form())
    with (
        pytest.raises(OutputError, match="expected work of an unfinished run") as caught,
        CellReader(path, form()),
    ):
        pass
    assert "\n" not in caught.value.message
    assert not path.exists()


def test_any_damaged_byte_and_any_cut_is_found(tmp_path: Path) -> None:
    path = write(tmp_path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        for damaged in (
            whole[:place],
            whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :],
        ):
            path.write_bytes(damaged)
            with pytest.raises(OutputError, match="got "), CellReader(path, form()) as reader:
                reader.read(0, 5)
            assert not path.exists()


def test_a_missing_file_is_said_in_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"is missing.*\nhint: run the same command again"),
        CellReader(tmp_path / "run", form()),
    ):
        pass


def test_a_disk_that_fails_is_said_and_nothing_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path)

    def fail(*_: Any) -> int:
        raise OSError(ESTALE, "Stale file handle")

    monkeypatch.setattr(module.os, "preadv", fail)
    with (
        pytest.raises(OutputError, match="cannot be read: Stale file handle"),
        CellReader(path, form()) as reader,
    ):
        reader.read(0, 1)
    assert path.exists()


def test_a_file_that_an_equal_one_replaces_is_read_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path)
    with CellReader(path, form()) as reader:
        expected = [
            {name: part.tolist() for name, part in cell.items()} for cell in reader.read(0, 5)
        ]
        real, left = module.os.preadv, [1]

        def stale_once(*arguments: Any) -> int:
            if left:
                left.pop()
                path.rename(tmp_path / "old")
                write(tmp_path)
                raise OSError(ESTALE, "Stale file handle")
            return real(*arguments)

        monkeypatch.setattr(module.os, "preadv", stale_once)
        got = [{name: part.tolist() for name, part in cell.items()} for cell in reader.read(0, 5)]
    assert not left
    assert got == expected
