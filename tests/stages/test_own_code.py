"""Modules that a mixture names: found and pinned without being run, and loaded as they were."""

import os
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from support.filters import ask, declared
from support.own_filters import allowed, own, write

from pipeline.core.digest import sha256_file
from pipeline.core.errors import ConfigError
from pipeline.stages.filters.dependencies import identify
from pipeline.stages.filters.own_code import find_code, load

KEEP = "def keep(text, metadata):\n return {}\n"
FILE = "[python: './own.py:keep']"


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that modules are installed in."""
    folder = tmp_path / "installed"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


def test_the_digest_of_a_file_is_that_of_its_bytes_and_nothing_is_run(tmp_path: Path) -> None:
    path = write(tmp_path, "raise SystemExit\n")
    assert identify(declared(FILE), tmp_path)["0/python/./own.py"] == sha256_file(path)


def test_a_change_that_keeps_size_and_time_is_seen(tmp_path: Path) -> None:
    assert ask(own(tmp_path, KEEP.format("'a'")), "text")[0] == "python:keep/a"
    state = (tmp_path / "own.py").stat()
    before = identify(declared(FILE), tmp_path)
    write(tmp_path, KEEP.format("'b'"))
    os.utime(tmp_path / "own.py", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert identify(declared(FILE), tmp_path) != before
    assert ask(allowed(tmp_path, FILE), "text")[0] == "python:keep/b"


def test_modules_of_one_name_are_not_confused(tmp_path: Path) -> None:
    one = own(tmp_path / "one", KEEP.format("'one'"))
    other = own(tmp_path / "other", KEEP.format("'other'"))
    assert ask(one, "text")[0] == "python:keep/one"
    assert ask(other, "text")[0] == "python:keep/other"
    assert "own" not in sys.modules


def test_a_module_may_have_dataclasses_and_know_its_folder(tmp_path: Path) -> None:
    write(tmp_path, "yes", "list.txt")
    source = """
        from __future__ import annotations
        from dataclasses import dataclass
        from pathlib import Path

        @dataclass
        class Rule:
            word: str

        RULE = Rule((Path(__file__).parent / "list.txt").read_text())

        def keep(text, metadata):
            return RULE.word
        """
    assert ask(own(tmp_path, source), "text")[0] == "python:keep/yes"


def test_a_package_is_pinned_by_all_its_files_and_not_imported(packages: Path) -> None:
    write(packages, "raise SystemExit\n", "rules/__init__.py")
    write(packages, KEEP.format("True"), "rules/age.py")
    part = write(packages, "LEAST = 1\n", "rules/deep/parts.py")
    filters = declared("[python: rules.age:keep]")
    before = identify(filters, packages)
    assert set(before) == {"0/python/rules", "unicode"}
    assert "rules" not in sys.modules
    part.write_text("LEAST = 2\n")
    between = identify(filters, packages)
    part.rename(part.with_name("other.py"))
    assert (
        len({one["0/python/rules"] for one in (before, between, identify(filters, packages))}) == 3
    )


def test_a_package_that_changes_after_it_was_imported_is_refused(packages: Path) -> None:
    write(packages, "", "later/__init__.py")
    path = write(packages, KEEP.format("'a'"), "later/age.py")
    assert ask(allowed(packages, "[python: later.age:keep]"), "text")[0] == "python:keep/a"
    path.write_text(KEEP.format("'other'"))
    with pytest.raises(ConfigError, match="changed since this process has read it"):
        allowed(packages, "[python: later.age:keep]")


def test_an_installed_module_in_one_file_is_run_as_it_is(packages: Path) -> None:
    path = write(packages, KEEP.format("'a'"), "alone.py")
    filters = "[python: alone:keep]"
    assert identify(declared(filters), packages)["0/python/alone"] == sha256_file(path)
    assert ask(allowed(packages, filters), "text")[0] == "python:keep/a"
    path.write_text(KEEP.format("'b'"))
    assert ask(allowed(packages, filters), "text")[0] == "python:keep/b"


def test_a_file_that_changes_between_pin_and_load_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, KEEP.format("True"))
    code = find_code(declared(FILE)[0].options, tmp_path)
    assert code is not None
    path.write_text(KEEP.format("False"))
    with pytest.raises(ConfigError, match="changed since this process has read it"):
        load(code, "keep")


def test_packages_and_files_that_a_mixture_lists_are_recorded(tmp_path: Path) -> None:
    write(tmp_path, KEEP.format("True"))
    words = write(tmp_path, "a\n", "lists/words.txt")
    filters = "[{python: {function: './own.py:keep', packages: [numpy], files: [lists/words.txt]}}]"
    found = identify(declared(filters), tmp_path)
    assert found["numpy"] == metadata.version("numpy")
    assert found["0/python/files/lists/words.txt"] == sha256_file(words)
    assert "datatrove" not in found
    theirs = identify(declared("[datatrove: FTFYFormatter]"), tmp_path)
    assert theirs["datatrove"] == metadata.version("datatrove")
    for bad, message in {
        "packages: [nosuch]": "python:keep needs the package nosuch",
        "files: [no.txt]": "python:keep.files: .*no.txt: got no file",
    }.items():
        with pytest.raises(ConfigError, match=message):
            identify(declared(f"[{{python: {{function: './own.py:keep', {bad}}}}}]"), tmp_path)


LOADING = [
    ("def keep(", "cannot be imported: SyntaxError: '(' was never closed (own.py, line 1)"),
    ("x = 1\nimport nosuch\n", "ModuleNotFoundError: No module named 'nosuch' (own.py, line 2)"),
    ("raise SystemExit(1)", "cannot be imported: SystemExit: 1 (own.py, line 1)"),
    ("x = '\0'", "cannot be imported: "),
    ("def kept(text, metadata): pass", "own.py:keep: got no keep there, expected one of kept"),
    ("x = 1", "own.py:keep: got no keep there, expected a function, of which it has none"),
    ("def __getattr__(name): raise RuntimeError(name)", "cannot be imported: RuntimeError: keep"),
    ("keep = 3", "own.py:keep: got int, expected a function or a class"),
    ("def keep(text): pass", "./own.py:keep(text): cannot be called with (text, metadata): too m"),
    ("def keep(text, metadata, a): pass", "missing a required argument: 'a'"),
]


@pytest.mark.parametrize(("source", "complaint"), LOADING)
def test_what_cannot_be_loaded_is_an_error_that_says_why(
    source: str, complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        own(tmp_path, source)


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("./none.py:keep", "./none.py: .*none.py: got no file .No such file"),
        ("./folder.py:keep", "folder.py: got no file .Is a directory"),
        ("nosuch.module:keep", "nosuch.module:keep: got no file of an installed module nosuch"),
        ("os:system", "os:system: got no file of an installed module os"),
        ("sys:exit", "sys:exit: got no file of an installed module sys"),
        ("bare.module:keep", "got no file of an installed module bare, expected one; of a package"),
        ("alone.module:keep", "alone.module:keep: got a module in one file, .*alone.py, expected"),
        ("whole.none:keep", "whole.none:keep: cannot be imported: ModuleNotFoundError: No mod"),
    ],
)
def test_what_is_not_found_is_an_error_that_says_where_it_was_looked_for(
    written: str, complaint: str, packages: Path
) -> None:
    (packages / "folder.py").mkdir()
    write(packages, "", "bare/module.py")
    write(packages, "", "alone.py")
    write(packages, "", "whole/__init__.py")
    with pytest.raises(ConfigError, match=complaint):
        allowed(packages, f"[python: '{written}']")
