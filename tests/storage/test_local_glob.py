"""Local globs: every readable file, and a reason for whatever else a pattern reaches."""

import os
from pathlib import Path

import pytest

from pipeline.core.errors import InputError
from pipeline.storage.local import match_files
from pipeline.storage.local_glob import fixed_folder, reach_files


def _tree(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _reach(folder: Path, pattern: str) -> tuple[list[str], dict[str, str]]:
    reached = reach_files(folder, pattern)
    files = [path.relative_to(folder).as_posix() for path in reached.files]
    unreadable = reached.unreadable.items()
    return files, {path.relative_to(folder).as_posix(): reason for path, reason in unreadable}


def test_files_are_listed_by_path_whatever_order_they_were_made_in(tmp_path: Path) -> None:
    _tree(tmp_path, "b/2", "a/10", "c", "a/9")
    assert _reach(tmp_path, "**/*") == (["a/10", "a/9", "b/2", "c"], {})
    assert _reach(tmp_path, "a/**") == (["a/10", "a/9"], {})
    assert _reach(tmp_path, "**/**/9") == (["a/9"], {})
    assert _reach(tmp_path, "c") == (["c"], {})
    assert _reach(tmp_path, "c/*") == ([], {})
    assert _reach(tmp_path, "none") == ([], {})


def test_hidden_entries_are_matched_only_where_the_pattern_has_the_dot(tmp_path: Path) -> None:
    _tree(tmp_path, "a.x", ".b.x", ".c/d.x", "e/.f/g.x")
    assert _reach(tmp_path, "*.x") == (["a.x"], {})
    assert _reach(tmp_path, "**/*.x") == (["a.x"], {})
    assert _reach(tmp_path, "?b.x") == ([], {})
    assert _reach(tmp_path, "[.]b.x") == ([], {})
    assert _reach(tmp_path, ".*.x") == ([".b.x"], {})
    assert _reach(tmp_path, ".c/*.x") == ([".c/d.x"], {})
    assert _reach(tmp_path, "e/.*/*.x") == (["e/.f/g.x"], {})


@pytest.mark.parametrize("pattern", ["*.x", "**/*.x", "b.x"])
def test_a_link_to_nothing_is_named(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "b.x").symlink_to("/nonexistent/blob")
    _, unreadable = _reach(tmp_path, pattern)
    assert unreadable == {"b.x": "is a link to /nonexistent/blob: No such file or directory"}


def test_a_link_to_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    _tree(tmp_path, "d/a/1.x")
    (tmp_path / "d" / "b").symlink_to("/nonexistent/disk")
    expected = {"d/b": "is a link to /nonexistent/disk: No such file or directory"}
    assert _reach(tmp_path, "d/**/*.x") == (["d/a/1.x"], expected)
    assert _reach(tmp_path, "d/*/*.x") == (["d/a/1.x"], expected)


def test_linked_folders_are_followed_below_any_wildcard(tmp_path: Path) -> None:
    _tree(tmp_path, "d/a/1.x", "disk/b/2.x")
    (tmp_path / "d" / "b").symlink_to("../disk/b")
    assert _reach(tmp_path, "d/**/*.x") == (["d/a/1.x", "d/b/2.x"], {})
    assert _reach(tmp_path, "d/*/*.x") == (["d/a/1.x", "d/b/2.x"], {})


@pytest.mark.parametrize("target", [".", "..", "a"])
def test_a_folder_that_is_reached_twice_is_refused(tmp_path: Path, target: str) -> None:
    _tree(tmp_path, "d/a/1.x")
    (tmp_path / "d" / "loop").symlink_to(target)
    files, unreadable = _reach(tmp_path, "d/**/*.x")
    assert files == ["d/a/1.x"]
    [reason] = unreadable.values()
    assert reason.endswith(", which the pattern reaches too")


def test_a_link_to_itself_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("a")
    _, unreadable = _reach(tmp_path, "**/*.x")
    assert unreadable == {"a": f"is a link to a: {os.strerror(40)}"}


def test_a_file_beside_a_link_to_it_is_refused_but_equal_links_elsewhere_are_two_files(
    tmp_path: Path,
) -> None:
    _tree(tmp_path, "runs/1/a.x", "cache/blob")
    (tmp_path / "runs" / "latest").symlink_to("1")
    _, unreadable = _reach(tmp_path, "runs/*/a.x")
    first = tmp_path / "runs" / "1" / "a.x"
    assert unreadable == {"runs/latest/a.x": f"leads to {first}, which is reached too"}
    for name in ("b.x", "c.x"):
        (tmp_path / "cache" / name).symlink_to("blob")
    assert _reach(tmp_path, "cache/*.x") == (["cache/b.x", "cache/c.x"], {})
    os.link(tmp_path / "cache" / "blob", tmp_path / "cache" / "hard")
    assert _reach(tmp_path, "cache/[bh]?[!x]*") == (["cache/blob", "cache/hard"], {})


def test_what_is_no_file_is_named_unless_its_files_are_reached(tmp_path: Path) -> None:
    _tree(tmp_path, "a.x", "b.x/part-0.x")
    os.mkfifo(tmp_path / "c.x")
    expected = {"b.x": "is a folder", "c.x": "is no regular file"}
    assert _reach(tmp_path, "*.x") == (["a.x"], expected)
    assert _reach(tmp_path, "b.x") == ([], {"b.x": "is a folder"})
    assert _reach(tmp_path, "**/*") == (["a.x", "b.x/part-0.x"], {"c.x": "is no regular file"})


def test_what_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _tree(tmp_path, "a/1.x", "b/2.x")
    denied = "cannot be read: Permission denied"
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "1.x")
    assert _reach(tmp_path, "a/*.x") == ([], {"a/1.x": denied})
    listdir = os.listdir

    def list_some(path: Path) -> list[str]:
        if path.name == "b":
            raise PermissionError(13, "Permission denied")
        return listdir(path)

    monkeypatch.setattr(os, "listdir", list_some)
    assert _reach(tmp_path, "**/*.x") == ([], {"a/1.x": denied, "b": denied})


def test_a_part_that_exists_as_written_is_no_pattern(tmp_path: Path) -> None:
    _tree(tmp_path, "x[1].x", "x1.x", "y1.x", "z[1]/a.x", "z1/b.x")
    assert _reach(tmp_path, "x[1].x") == (["x[1].x"], {})
    assert _reach(tmp_path, "y[1].x") == (["y1.x"], {})
    assert _reach(tmp_path, "z[1]/*.x") == (["z[1]/a.x"], {})
    # Nor are the parts of the folder itself.
    assert [path.name for path in reach_files(tmp_path / "z[1]", "*.x").files] == ["a.x"]


@pytest.mark.parametrize("pattern", ["", ".", "a\0b"])
def test_what_is_no_pattern_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ValueError, match="no pattern"):
        reach_files(tmp_path, pattern)


def test_a_pattern_names_a_folder_up_to_its_first_wildcard() -> None:
    assert fixed_folder(Path("m"), "../out/train/**/*.mds") == Path("m/../out/train")
    assert fixed_folder(Path("m"), "/out/*") == Path("/out")
    assert fixed_folder(Path("m"), "a/b.mds") == Path("m/a/b.mds")


def test_a_file_that_two_patterns_reach_by_two_names_is_refused(tmp_path: Path) -> None:
    _tree(tmp_path, "a/1.x")
    (tmp_path / "b.x").symlink_to("a/1.x")
    assert len(match_files("path", ["a/*.x", "a/1.x", "**/1.x"], tmp_path).files) == 1
    for patterns in (["a/*.x", "b.x"], ["b.x", "a/*.x"]):
        with pytest.raises(InputError, match=r"leads to .*, which is reached too"):
            match_files("path", patterns, tmp_path)
