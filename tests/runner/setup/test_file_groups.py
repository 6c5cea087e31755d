"""How files fall into sources, and the names that sources get."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import SOURCE_NAME
from pipeline.runner.setup.file_groups import (
    KNOWN_KINDS,
    by_family,
    files_per_partition,
    folder_patterns,
    series_of,
    source_name,
)
from pipeline.sources import SUFFIXES, InputFile


@pytest.mark.parametrize(
    ("paths", "families", "left_out"),
    [
        (["a.json.gz", "b.jsonl", "c.JSONL"], ["jsonl"], []),
        (["a.txt", "README.md"], ["txt"], []),
        (["a.csv", "README.md", "LICENSE.txt", "x.pdf"], ["csv"],
         ["LICENSE.txt", "README.md", "x.pdf"]),
        (["s.mds", "index.json"], ["mds"], ["index.json"]),
        (["d.arrow", "state.json", "dataset_info.json", "own.json"], ["arrow", "jsonl"],
         ["dataset_info.json", "state.json"]),
        (["index.json"], ["jsonl"], []),
        (["p.jsonl.tar.gz", "a.jsonl"], ["jsonl", "tar"], []),
        (["x.pdf"], [], ["x.pdf"]),
    ],
)  # fmt: skip
def test_files_fall_into_kinds_and_what_is_no_data_is_named(
    paths: list[str], families: list[str], left_out: list[str]
) -> None:
    found, others = by_family(paths)
    assert ([*found], others) == (families, left_out)
    assert sorted([*others, *(path for of in found.values() for path in of)]) == sorted(paths)


@pytest.mark.parametrize(
    ("folder", "paths", "patterns"),
    [
        ("d", ["a.jsonl", "b.json.gz"], ["d/*.json.gz", "d/*.jsonl"]),
        ("d", ["x/a.jsonl"], ["d/**/*.jsonl"]),
        ("", ["a.jsonl"], ["*.jsonl"]),
        # Not `**/*.jsonl`, which would reach the outputs of builds here.
        ("", ["a.jsonl", "x/b.jsonl", "y/z/c.csv"], ["*.jsonl", "x/**/*.jsonl", "y/**/*.csv"]),
    ],
)
def test_folders_are_named_by_globs(folder: str, paths: list[str], patterns: list[str]) -> None:
    assert folder_patterns(folder, paths) == patterns


@pytest.mark.parametrize(
    ("path", "series"),
    [
        ("d/part-0001.jsonl.gz", "d/part"),
        ("part-00001-of-00010.parquet", "part"),
        ("books.jsonl", "books"),
        ("2024.jsonl", "2024"),
        ("notes/monday.txt", "notes"),
    ],
)
def test_a_series_is_named_without_its_numbers(path: str, series: str) -> None:
    assert series_of(path) == series


@pytest.mark.parametrize(
    ("num_files", "file_bytes", "number"),
    [
        (400, 12_000, 25),  # 16 partitions
        (100, 12_000, 1),
        (400, 1 << 20, 1),
        (6400, 1 << 19, 64),  # 100 partitions of 32 MiB
        (101, 0, 7),
    ],
)
def test_many_small_files_share_partitions(num_files: int, file_bytes: int, number: int) -> None:
    file = InputFile(path=Path("a"), declared="a", partition="a", kind=".txt", num_bytes=file_bytes)
    assert files_per_partition([file] * num_files) == number


@given(st.text(), st.lists(st.sampled_from(["a", "source", "2024", "a-2"])))
def test_any_text_makes_a_name_that_a_source_can_have(wanted: str, taken: list[str]) -> None:
    name = source_name(wanted, taken)
    assert SOURCE_NAME.matches(name)
    assert name not in taken


def test_names_stay_close_to_the_files() -> None:
    assert source_name("Bücher & Briefe", []) == "Bucher-Briefe"
    assert source_name("船", []) == source_name("index.json", []) == "source"
    assert source_name("a", ["a", "a-2"]) == "a-3"


def test_every_kind_that_is_read_is_named_to_people() -> None:
    for suffix in SUFFIXES:
        first = "." + suffix.split(".")[1]
        assert first in KNOWN_KINDS
