"""Index builder: it goes on to the same bytes, mends damage and keeps within memory."""

import os
import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.searched import order_of, patterns_of, write_index
from support.strategies import QUICK

from pipeline.audit.search import SearchIndex, build_index, section_tokens_within
from pipeline.audit.search.index_builder import cut_sections
from pipeline.audit.search.index_record import SECTION
from pipeline.core.errors import InputError, MismatchError, OutputError
from pipeline.core.ragged import Rows, offsets_of
from pipeline.dataset import Order
from pipeline.dataset.rows import MissingRows, RowReader

ROWS = [[row % 5, row % 7, row % 11, row % 13, row % 17] * (1 + row % 3) for row in range(60)]
ORDER = order_of(ROWS)
NUM_SECTIONS = 12


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of an index but those that say when its files were written."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != SECTION)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    folder = tmp_path / "whole"
    record = write_index(ORDER, folder)
    assert len(record.sections) == NUM_SECTIONS
    assert (record.num_rows, record.num_tokens) == (len(ROWS), sum(map(len, ROWS)))
    return folder


class Killed(BaseException):
    """Nothing catches it, like a kill."""


@pytest.mark.parametrize("at", range(NUM_SECTIONS))
def test_a_killed_run_goes_on_to_the_same_bytes(at: int, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"

    def die(stage: str, done: int, total: int, *_: object) -> None:
        if done >= total * (at + 1) / NUM_SECTIONS:
            raise Killed

    with pytest.raises(Killed):
        build_index(ORDER, folder, section_tokens=64, report=die)
    assert not (folder / "index.json").exists()
    kept = {path: path.stat().st_ino for path in folder.glob("section-*/tokens.npy")}
    assert len(kept) >= at
    (folder / "tmp" / "half").mkdir(parents=True)
    write_index(ORDER, folder)
    assert contents(folder) == contents(whole)
    assert {path: path.stat().st_ino for path in kept} == kept


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


FILES = ["ids.npy", "starts.npy", "row_starts.npy", "tokens.npy", "places.npy"]


@pytest.mark.parametrize("damage", [flip, Path.unlink])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_and_made_again(name: str, damage: object, whole: Path) -> None:
    before = contents(whole)
    path = whole / "section-000004" / name
    assert callable(damage)
    damage(path)
    what = "is damaged" if path.exists() else "is missing"
    with pytest.raises(MismatchError, match=f"section-000004/{name}: {what}") as caught:
        SearchIndex.open(whole, ORDER)
    assert "search-index` again" in str(caught.value.hint)
    kept = (whole / "section-000005" / name).stat().st_ino
    write_index(ORDER, whole)
    assert contents(whole) == before
    assert (whole / "section-000005" / name).stat().st_ino == kept
    SearchIndex.open(whole, ORDER)


def test_an_index_that_is_mended_is_none_until_it_is_whole(whole: Path) -> None:
    flip(whole / "section-000004" / "ids.npy")

    def die(stage: str, done: int, total: int, *_: object) -> None:
        if done == total:
            raise Killed

    with pytest.raises(Killed):
        build_index(ORDER, whole, section_tokens=64, report=die)
    with pytest.raises(InputError, match=r"got no index\.json"):
        SearchIndex.open(whole, ORDER)


def test_a_damaged_list_is_named(whole: Path) -> None:
    path = whole / "index.json"
    data = path.read_bytes()
    for damaged, message in (
        (data.replace(b'"num_rows": 60', b'"num_rows": 61'), "its digest does not match"),
        (data[:100], "is damaged"),
        (b"[]", "got no record"),
        (data.replace(b"index-v1", b"index-v9"), "got the format 'ettin-search-index-v9'"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(MismatchError, match=f"index.json: .*{message}"):
            SearchIndex.open(whole, ORDER)
    write_index(ORDER, whole)
    assert path.read_bytes() == data


def test_files_that_were_copied_are_hashed(whole: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(whole, tmp_path / "copy")
    SearchIndex.open(copy, ORDER)
    path = copy / "section-000000" / "places.npy"
    times = path.stat()
    flip(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(MismatchError, match=r"places\.npy: is damaged"):
        SearchIndex.open(copy, ORDER)
    (whole / "section-000001" / SECTION).unlink()
    SearchIndex.open(whole, ORDER)


def test_a_section_of_another_index_is_named(whole: Path, tmp_path: Path) -> None:
    write_index(order_of(ROWS[1:]), tmp_path / "other")
    shutil.rmtree(whole / "section-000002")
    (tmp_path / "other" / "section-000003").rename(whole / "section-000002")
    with pytest.raises(MismatchError, match=r"section-000002/ids\.npy: is damaged"):
        SearchIndex.open(whole, ORDER)


def test_the_index_of_another_order_is_replaced(whole: Path) -> None:
    other = order_of([[1, 2, 3]])
    write_index(other, whole)
    assert [path.name for path in sorted(whole.iterdir())] == [
        *("index.json", "lock", "section-000000"),
    ]
    assert SearchIndex.open(whole, other).find(patterns_of([2, 3])).count == 1


def test_nothing_is_written_into_a_folder_of_others_or_one_in_use(
    whole: Path, tmp_path: Path
) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.tex").touch()
    with pytest.raises(OutputError, match=r"holds 'thesis\.tex', expected a new folder"):
        write_index(ORDER, tmp_path / "theirs")

    def again(*_: object) -> None:
        with pytest.raises(OutputError, match=r"cannot be locked.*another run may write it"):
            write_index(ORDER, whole)

    build_index(ORDER, whole, section_tokens=64, report=again)


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("file", "got a file, expected a folder"),
        ("file/index", "cannot be made: Not a directory"),
        ("/proc/index", "cannot be made: No such file or directory"),
        ("/sys/index", "cannot be made: "),
        ("/dev/null", "got a file, expected a folder"),
    ],
)
def test_a_place_where_no_folder_can_be_is_said(place: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=f"{place}: {why}.*\nhint: choose another --out"):
        write_index(ORDER, tmp_path / place)


def test_a_manifest_alone_has_no_index(tmp_path: Path) -> None:
    missing = cast(RowReader, MissingRows(where="m.json", num_rows=3))
    order = Order(where="m.json", rows=missing, digest="")
    with pytest.raises(InputError, match=r"m\.json: got a manifest alone"):
        write_index(order, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@QUICK
@given(
    lengths=st.lists(st.lists(st.integers(0, 9), max_size=8), max_size=8),
    most=st.integers(1, 30),
)
def test_sections_are_as_many_rows_as_fit_however_rows_are_read(
    lengths: list[list[int]], most: int
) -> None:
    def cut(lengths: list[list[int]]) -> list[list[int]]:
        blocks = [Rows(np.zeros(sum(one), np.uint32), offsets_of(one)) for one in lengths]
        return [
            [length for part in parts for length in part.lengths().tolist()]
            for parts in cut_sections(blocks, most)
        ]

    expected: list[list[int]] = []
    for length in (length for one in lengths for length in one):
        if not expected or sum(expected[-1]) + len(expected[-1]) + length + 1 > most:
            expected.append([])
        expected[-1].append(length)
    assert cut(lengths) == expected
    assert cut([[length] for one in lengths for length in one]) == expected


class ManyRows:
    """Rows that are made as they are read."""

    num_rows = 20_000

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        for first in range(start, stop, 50):
            num_rows = min(50, stop - first)
            values = np.random.default_rng(first).integers(0, 3000, num_rows * 100)
            yield Rows(values.astype(np.uint32), np.arange(num_rows + 1) * 100)


def test_memory_is_that_of_a_section(tmp_path: Path) -> None:
    order = Order(where="made", rows=cast(RowReader, ManyRows()), digest="0" * 64)
    write_index(order_of(ROWS), tmp_path / "compiled")
    memory = 4 << 20
    tracemalloc.start()
    write_index(order, tmp_path / "index", section_tokens_within(memory))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < memory < ManyRows.num_rows * 100 * 4


def test_an_index_inside_of_an_output_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").touch()
    with pytest.raises(OutputError, match=f"is inside {tmp_path}, an output"):
        write_index(ORDER, tmp_path / "order.search-index")
    assert not (tmp_path / "order.search-index").exists()
