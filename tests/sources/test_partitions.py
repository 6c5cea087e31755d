"""Listing: a source's files in one order, each with a partition of its own inside the output."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.config.mixture import ChunkSpec
from pipeline.core.errors import InputError
from pipeline.dataset.paths import chunk_folder
from pipeline.sources.partitions import InputFile, group_files, list_files
from pipeline.storage import match_files


def tree(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def listed(folder: Path, *patterns: str) -> list[InputFile]:
    return list_files("s", patterns, folder)


def declared(folder: Path, *patterns: str) -> list[str]:
    return [file.declared for file in listed(folder, *patterns)]


def test_files_are_sorted_by_partition_whatever_the_order_of_patterns(tmp_path: Path) -> None:
    tree(tmp_path, "b/10.jsonl", "b/9.jsonl", "a/x.json.gz", "a/B.jsonl")
    expected = ["b/10.jsonl", "b/9.jsonl", "a/B.jsonl", "a/x.json.gz"]
    assert declared(tmp_path, "b/*", "a/*") == expected
    assert declared(tmp_path, "a/x.json.gz", "*/*") == expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jsonl", ["1.jsonl", "22.jsonl"]),
        ("?.jsonl", ["1.jsonl"]),
        ("[13].jsonl", ["1.jsonl"]),
        ("**/*.jsonl", ["1.jsonl", "22.jsonl", "a/3.jsonl", "a/b/4.jsonl"]),
        ("a/**/*.jsonl", ["a/3.jsonl", "a/b/4.jsonl"]),
        ("a/**", ["a/3.jsonl", "a/b/4.jsonl"]),
        ("*/3.jsonl", ["a/3.jsonl"]),
        ("./a/3.jsonl", ["a/3.jsonl"]),
        ("a/../1.jsonl", ["a/../1.jsonl"]),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    tree(tmp_path, "1.jsonl", "22.jsonl", "a/3.jsonl", "a/b/4.jsonl")
    assert declared(tmp_path, pattern) == expected


def test_absolute_patterns_and_files_outside_the_folder(tmp_path: Path) -> None:
    tree(tmp_path, "data/1.jsonl", "mixtures/x.yaml")
    inside = listed(tmp_path, f"{tmp_path}/data/*.jsonl")
    assert [file.declared for file in inside] == ["data/1.jsonl"]
    [outside] = listed(tmp_path / "mixtures", f"{tmp_path}/data/*.jsonl")
    assert outside.declared == f"{tmp_path}/data/1.jsonl"
    [above] = listed(tmp_path / "mixtures", "../data/*.jsonl")
    assert above.declared == "../data/1.jsonl"


@pytest.mark.parametrize(
    ("name", "partition", "kind"),
    [
        ("books-0001.json.gz", "books_0001", ".json.gz"),
        ("a.b-c.jsonl", "a.b_c", ".jsonl"),
        ("a.jsonl.zst", "a", ".jsonl.zst"),
        ("a.json.zstd", "a", ".json.zstd"),
        ("part-00000-of-00010.parquet", "part_00000_of_00010", ".parquet"),
        ("a b,c~d@e+f=g.txt", "a b,c~d@e+f=g", ".txt"),
        ("-a.txt.gz", "_a", ".txt.gz"),
        ("json.json", "json", ".json"),
        ("a.json.json.gz", "a.json", ".json.gz"),
        ("x" * 150 + ".jsonl", "x" * 150, ".jsonl"),
        ("donn\u00e9es.jsonl", "donn\u00e9es", ".jsonl"),
        ("donne\u0301es.jsonl", "donn\u00e9es", ".jsonl"),
        ("\u0939\u093f\u0902\u0926\u0940.txt", "\u0939\u093f\u0902\u0926\u0940", ".txt"),
        ("data (1).jsonl", "data (1)", ".jsonl"),
        ("x[1].jsonl", "x[1]", ".jsonl"),
    ],
)
def test_the_name_of_a_file_names_its_partition(
    tmp_path: Path, name: str, partition: str, kind: str
) -> None:
    tree(tmp_path, name)
    [file] = listed(tmp_path, "*")
    assert (file.path, file.declared) == (tmp_path / name, name)
    assert (file.partition, file.kind) == (partition, kind)


@pytest.mark.parametrize("pattern", ["no.jsonl", "*.jsonl", "no/**/*.jsonl"])
def test_a_pattern_that_matches_nothing_is_an_error(tmp_path: Path, pattern: str) -> None:
    tree(tmp_path, "other.json")
    with pytest.raises(InputError) as raised:
        listed(tmp_path, "other.json", pattern)
    assert raised.value.message == (
        f'sources.s.from.path: "{pattern}" matches no file below {tmp_path}'
    )
    assert raised.value.hint == ("paths are relative to the mixture file; check the spelling")


@pytest.mark.parametrize(
    ("one", "other", "partition"),
    [
        ("a-1.json.gz", "a_1.json.gz", "a_1"),
        ("a.json.gz", "a.jsonl", "a"),
        ("x/a.jsonl", "y/a.jsonl", "a"),
        ("a.jsonl.zst", "a.jsonl.zstd", "a"),
    ],
)
def test_two_files_of_one_partition_are_an_error(
    tmp_path: Path, one: str, other: str, partition: str
) -> None:
    tree(tmp_path, one, other)
    with pytest.raises(InputError) as raised:
        listed(tmp_path, "**/*")
    assert raised.value.message == (
        f'sources.s: "{one}" and "{other}" would both be partition "{partition}"'
    )
    assert raised.value.hint == (
        "name partitions by path, with `partition: path`, or make two sources of them"
    )


@pytest.mark.parametrize("name", ["a.pdf", "a", "a.json.lz4", "a.parquet.gz", "a.gz"])
def test_a_file_of_no_known_kind_is_an_error(tmp_path: Path, name: str) -> None:
    tree(tmp_path, "a.jsonl", name)
    with pytest.raises(InputError) as raised:
        listed(tmp_path, "*")
    assert raised.value.message.startswith(
        f"sources.s: got {name}, expected a file that ends in one of .arrow, .csv, .csv.bz2, "
    )
    assert raised.value.hint == "name the files of the source with a narrower pattern"


@pytest.mark.parametrize(
    "name",
    ["..json.gz", "...json.gz", ".json.gz", ".hidden.jsonl", " a.jsonl", "~a.jsonl", "(a).jsonl",
     "a'b.jsonl", "a$b.jsonl", "a\\b.jsonl", "a:b.jsonl", "x" * 151 + ".jsonl",
     "\u00e9" * 76 + ".jsonl"],
)  # fmt: skip
def test_a_name_that_cannot_name_a_folder_is_an_error(tmp_path: Path, name: str) -> None:
    tree(tmp_path, name)
    with pytest.raises(InputError) as raised:
        listed(tmp_path, ".*" if name.startswith(".") else "*")
    assert raised.value.message.startswith(f'sources.s: got file name "{name}", expected one that')
    assert raised.value.hint == "rename the file"


@pytest.mark.parametrize("name", [b"a\nb.jsonl", b"a\x1b[2J.jsonl", b"a\xff.jsonl", b"d\n/a.jsonl"])
def test_a_path_that_cannot_be_printed_is_an_error_on_one_line(tmp_path: Path, name: bytes) -> None:
    path = os.path.join(os.fsencode(tmp_path), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb"):
        pass
    with pytest.raises(InputError, match="expected one that can be printed") as raised:
        listed(tmp_path, "**/*")
    assert raised.value.message.isprintable()
    assert raised.value.hint == "rename the file or its folder"


def test_links_are_followed_and_keep_the_name_they_have_here(tmp_path: Path) -> None:
    tree(tmp_path, "elsewhere/0.jsonl", "in/own.jsonl")
    (tmp_path / "in" / "link.jsonl").symlink_to("../elsewhere/0.jsonl")
    (tmp_path / "linked").symlink_to("elsewhere")
    assert declared(tmp_path, "in/*") == ["in/link.jsonl", "in/own.jsonl"]
    assert declared(tmp_path, "linked/*.jsonl") == ["linked/0.jsonl"]


def test_all_that_is_no_readable_file_is_named_in_one_error(tmp_path: Path) -> None:
    tree(tmp_path, "d/a.jsonl", "d/c.jsonl/part-0.jsonl")
    (tmp_path / "d" / "b.jsonl").symlink_to("nowhere")
    with pytest.raises(InputError) as raised:
        listed(tmp_path, "d/*.jsonl")
    assert raised.value.message == (
        "sources.s.from.path: got what is no readable file:"
        "\n  d/b.jsonl is a link to nowhere: No such file or directory"
        "\n  d/c.jsonl is a folder"
    )
    assert raised.value.hint is not None
    assert "on_missing: skip" in raised.value.hint
    with pytest.raises(InputError, match=r"d/b\.jsonl is a link to nowhere"):
        listed(tmp_path, "d/b.jsonl")


def test_what_is_skipped_is_returned_and_a_pattern_needs_a_file_all_the_same(
    tmp_path: Path,
) -> None:
    tree(tmp_path, "a.jsonl")
    (tmp_path / "b.jsonl").symlink_to("nowhere")
    matched = match_files("s", ["*.jsonl"], tmp_path, "skip")
    assert matched.files == (("a.jsonl", tmp_path / "a.jsonl"),)
    assert matched.skipped == ("b.jsonl is a link to nowhere: No such file or directory",)
    with pytest.raises(InputError, match=r'"b\.jsonl" matches no file'):
        match_files("s", ["*.jsonl", "b.jsonl"], tmp_path, "skip")


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("d/{a,b}.jsonl", "list the patterns, as [a/*.jsonl, b/*.jsonl]: braces choose in"),
        ("~/d/*.jsonl", "write the folder out: ~ is not the home folder here"),
        ("d/y[1].jsonl", "[1] stands for one character of a set: write [[] where a name has"),
    ],
)
def test_a_pattern_of_a_shell_is_explained(tmp_path: Path, pattern: str, hint: str) -> None:
    tree(tmp_path, "d/a.jsonl")
    with pytest.raises(InputError, match="matches no file") as raised:
        listed(tmp_path, pattern)
    assert raised.value.hint is not None
    assert hint in raised.value.hint


def test_a_file_that_exists_as_written_is_no_pattern(tmp_path: Path) -> None:
    tree(tmp_path, "x[1].jsonl", "x1.jsonl")
    assert declared(tmp_path, "x[1].jsonl") == ["x[1].jsonl"]


def test_a_file_named_twice_is_one_file(tmp_path: Path) -> None:
    tree(tmp_path, "a.jsonl")
    assert declared(tmp_path, "a.jsonl", "*.jsonl", "./a.jsonl") == ["a.jsonl"]


names = st.text(
    st.characters(exclude_characters="/\x00", max_codepoint=0x2FF), min_size=1, max_size=30
).filter(lambda name: name not in (".", ".."))


@QUICK
@given(name=names, suffix=st.sampled_from([".jsonl", ".json.gz", ".parquet", ".txt"]))
def test_no_file_name_leads_out_of_the_output(
    tmp_path_factory: pytest.TempPathFactory, name: str, suffix: str
) -> None:
    folder = tmp_path_factory.mktemp("names")
    tree(folder, name + suffix)
    try:
        [file] = listed(folder, "*")
    except InputError:
        return
    assert re.fullmatch(r"\w[^/\0]*", file.partition)
    assert file.partition.isprintable()
    made = Path("out") / chunk_folder(file.partition, ChunkSpec(size=16))
    assert made.parent == Path("out")
    assert os.path.normpath(made) == str(made)


def test_the_longest_partition_fits_a_file_system() -> None:
    chunk = ChunkSpec(
        algorithm="ettin-reencode-v1", size=8_999, min_size=8_997, skip_below=1_000_000, seed=1
    )
    folder = chunk_folder("x" * 150, chunk)
    # What `files.publish` and the tables add for the time of writing.
    assert len(f"{folder}.npy.{'0' * 32}.old") <= 255


def test_a_file_alone_gives_its_partition_its_name(tmp_path: Path) -> None:
    tree(tmp_path, "b.txt", "a.txt")
    files = listed(tmp_path, "*.txt")
    assert group_files(files, 1) == {"a": (files[0],), "b": (files[1],)}


@QUICK
@given(num_files=st.integers(0, 12), size=st.integers(2, 13))
def test_partitions_of_several_files_have_each_once_and_keep_their_order(
    num_files: int, size: int
) -> None:
    files = [
        InputFile(path=Path(name), declared=name, partition=name, kind=".txt")
        for name in map(str, range(num_files))
    ]
    groups = group_files(files, size)
    assert [file for group in groups.values() for file in group] == files
    assert [len(group) for group in groups.values()][:-1] == [size] * (len(groups) - 1)
    assert [*groups] == sorted(groups)
    for name, group in groups.items():
        first, last = files.index(group[0]), files.index(group[-1])
        assert name == f"files_{first:08d}_to_{last:08d}"
