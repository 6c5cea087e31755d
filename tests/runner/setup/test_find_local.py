"""Which sources paths, folders and globs of a command line become."""

from pathlib import Path

import pytest

from pipeline.core.errors import InputError
from pipeline.runner.setup.file_groups import FileGroup
from pipeline.runner.setup.new_mixture import find_groups


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(*paths: str, content: str = "x") -> None:
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(content)


def groups(*arguments: str, folder: str = ".") -> list[FileGroup]:
    return find_groups(arguments, Path(folder))[0]


def found(*arguments: str, folder: str = ".") -> dict[str, tuple[str, ...] | None]:
    return {one.name: one.origin.path for one in groups(*arguments, folder=folder)}


def test_files_of_a_series_are_one_source_and_others_are_each() -> None:
    write("d/a-0000.jsonl", "d/a-0001.json.gz", "d/books.jsonl", "e/a-0000.jsonl", "d/x.csv")
    given = ["d/a-0000.jsonl", "d/a-0001.json.gz", "d/books.jsonl", "e/a-0000.jsonl", "d/x.csv"]
    assert found(*given) == {
        "a": ("d/a-000*.json.gz", "d/a-000*.jsonl"),
        "books": ("d/books.jsonl",),
        "a-2": ("e/a-0000.jsonl",),
        "x": ("d/x.csv",),
    }


def test_a_series_of_which_not_all_is_named_is_listed() -> None:
    write("a-0.jsonl", "a-1.jsonl", "a-2.jsonl")
    assert found("a-0.jsonl", "a-2.jsonl") == {"a": ("a-0.jsonl", "a-2.jsonl")}


def test_texts_of_one_folder_are_one_source() -> None:
    write("notes/mon.txt", "notes/tue.txt", "notes/wed.md")
    given = ["notes/mon.txt", "notes/tue.txt", "notes/wed.md"]
    assert found(*given) == {"notes": ("notes/*.md", "notes/*.txt")}


def test_a_glob_stays_as_it_is_and_is_narrowed_where_it_reaches_several_kinds() -> None:
    write("d/a.jsonl", "d/b.jsonl", "d/c.csv", "d/deep/e.csv")
    assert found("d/*.jsonl") == {"d": ("d/*.jsonl",)}
    assert found("d/**") == {"d-csv": ("d/**/*.csv",), "d-jsonl": ("d/**/*.jsonl",)}
    assert found("d/[ac].*") == {"c": ("d/c.csv",), "a": ("d/a.jsonl",)}


def test_paths_are_those_of_the_mixture_s_folder(here: Path) -> None:
    write("d/a.jsonl", "m/sub/x")
    assert found("d", folder="m") == {"d": ("../d/*.jsonl",)}
    assert found(str(here / "d")) == {"d": ("d/*.jsonl",)}
    assert found(str(here / "d"), folder="m") == {"d": (f"{here}/d/*.jsonl",)}
    write("a.jsonl", "b/c.jsonl")
    assert found(".") == {here.name.strip("-_."): ("*.jsonl", "b/**/*.jsonl", "d/**/*.jsonl")}


def test_names_that_recur_are_told_apart_by_their_paths() -> None:
    write("d/x/p.jsonl", "d/y/p.jsonl")
    (one,) = groups("d")
    assert one.origin.partition == "path"
    assert [file.partition for file in one.files] == ["x=p", "y=p"]


def test_many_small_files_share_partitions() -> None:
    write(*(f"d/{number}.txt" for number in range(600)))
    assert groups("d")[0].origin.files_per_partition == 38
    assert groups("d/1?.txt")[0].origin.files_per_partition == 1


def test_files_with_signs_of_globs_in_their_names_are_found() -> None:
    write("d/a[1].jsonl", "d/b.jsonl")
    assert found("d/a[1].jsonl") == {"a-1": ("d/a[1].jsonl",)}


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("", "FILE: got an empty argument, expected a file, a folder, a glob or an address"),
        ("gone.jsonl", "gone.jsonl: got no such file or folder"),
        ("d/x.pdf", "d/x.pdf: got no file of a known kind (d/x.pdf), expected .arrow, .csv, "),
        ("d/only", "d/only: got no file of a known kind (d/only/y.docx), expected "),
        ("d/nothing", "d/nothing: got no file, expected .arrow, "),
        ("d/*.parquet", "d/*.parquet: got no file, expected .arrow, "),
        ("d/empty.jsonl", "d/empty.jsonl: got an empty file, expected documents"),
        ("d/empties", "d/empties: got 2 files, all empty, expected documents"),
        ("out/train", "out/train: out/train/a.jsonl is part of"),
        ("d/bad\tname.jsonl", "sources.bad-name: got path"),
    ],
)
def test_what_cannot_be_a_source_is_refused_in_a_line(argument: str, message: str) -> None:
    write("d/x.pdf", "d/only/y.docx", "out/train/a.jsonl", "d/bad\tname.jsonl")
    write("d/empty.jsonl", "d/empties/a.csv", "d/empties/b.csv", content="")
    Path("d/nothing").mkdir()
    Path("out/.ettin").mkdir()
    with pytest.raises(InputError) as raised:
        groups(argument)
    assert raised.value.message.startswith(message)
    assert "\n" not in raised.value.message


def test_one_file_of_its_kind_in_a_folder_gives_its_name_to_the_source() -> None:
    write("mine/notes.txt", "mine/a-1.csv", "mine/a-2.csv")
    assert found("mine") == {"mine-csv": ("mine/*.csv",), "notes": ("mine/*.txt",)}


def test_a_file_that_two_arguments_name_is_refused() -> None:
    write("d/a/x.jsonl", "d/y.jsonl")
    Path("link").symlink_to("d")
    for one, two, path in (
        ("d", "d/a", "d/a/x.jsonl"),
        ("d/*.jsonl", "d/y.jsonl", "d/y.jsonl"),
        ("d/y.jsonl", "link/y.jsonl", "link/y.jsonl"),
        ("d/y.jsonl", "d/y.jsonl", "d/y.jsonl"),
        ("d", "link", "link/a/x.jsonl"),
    ):
        with pytest.raises(InputError) as raised:
            groups(one, two)
        assert raised.value.message == (
            f"{path}: got a file that both {one} and {two} name, expected one of them: its"
            " documents would count twice"
        )


def test_hard_links_of_two_arguments_are_a_warning() -> None:
    write("d/x.jsonl", "e/z.jsonl")
    Path("e/y.jsonl").hardlink_to("d/x.jsonl")
    both = find_groups(["d", "e"], Path())
    assert [one.name for one in both.groups] == ["d", "e"]
    assert both.warnings == [
        "e/y.jsonl and d/x.jsonl are one file (a hard link): its documents count twice"
    ]


def test_a_link_that_leads_nowhere_is_left_out_with_a_warning() -> None:
    write("d/x.jsonl", "d/y.jsonl")
    Path("d/gone.jsonl").symlink_to("nothing")
    one = find_groups(["d"], Path())
    assert [group.origin.path for group in one.groups] == [("d/x.jsonl", "d/y.jsonl")]
    assert one.warnings == [
        "left out: d/gone.jsonl is a link to nothing: No such file or directory"
    ]
