"""What is written of the examples can be typed, and one line says what is wrong with input."""

import importlib
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from support.paths import REPOSITORY

from examples.scripts import EXAMPLES, NAMES, run

GUIDE = REPOSITORY / "docs" / "guide" / "finetune.md"
LIBRARIES = {
    "classification": "transformers",
    "dense": "sentence_transformers",
    "multi_vector": "pylate",
    "reranker": "sentence_transformers",
    "sft": "trl",
    "sparse": "sentence_transformers",
}
PAIRS = ("query", "positive")


class Parsed(Exception):
    """The command line was understood."""


def commands(page: Path) -> list[list[str]]:
    return [
        shlex.split(command)
        for command in re.findall(r"^ *python (examples/.*)$", page.read_text(), re.MULTILINE)
    ]


def shared(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that the examples share."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("fine_tuning")


def test_every_example_is_here() -> None:
    others = {"fine_tuning", "track"}
    assert sorted({path.stem for path in EXAMPLES.glob("*.py")} - others) == NAMES


PAGES = [*(EXAMPLES / f"{name}.py" for name in NAMES), GUIDE]


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_commands_have_options_that_exist(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(extra: str) -> None:
        raise Parsed

    monkeypatch.setattr(shared(monkeypatch), "needs", stop)
    assert commands(page)
    for script, *arguments in commands(page):
        with pytest.raises(Parsed):
            run(monkeypatch, Path(script).stem, *arguments)


@pytest.mark.parametrize("name", NAMES)
def test_the_extra_of_a_missing_library_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, LIBRARIES[name], None)
    extra = "colbert" if name == "multi_vector" else "finetune"
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, name, "model", "--out", "out")
    assert str(stopped.value) == (
        f"{EXAMPLES / name}.py: got no library {LIBRARIES[name]!r}, expected those of the extra "
        f"{extra!r}\nhint: pip install 'ettin-data[{extra}]'"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"query": "a", "positive": "b"}\n{"query": "a", "text": "b"}\n',
            "rows.jsonl:2: got the fields query, text, expected query, positive",
        ),
        ("{}\n", "rows.jsonl:1: got no fields, expected query, positive"),
        ("a b c\n", "rows.jsonl:1: got 'a b c', expected a JSON object"),
        ("[1]\n", "rows.jsonl:1: got '[1]', expected a JSON object"),
        ("", "rows.jsonl: got no rows, expected JSON lines with query, positive"),
        (None, "rows.jsonl: got no such file, expected JSON lines with query, positive"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    content: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("rows.jsonl").write_text(content)
    with pytest.raises(SystemExit) as stopped:
        shared(monkeypatch).read_rows("rows.jsonl", *PAIRS)
    assert str(stopped.value) == message


def test_a_file_may_have_more_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": 1, "positive": "b", "negative": "c", "query": "a\u2028"}\n')
    rows = shared(monkeypatch).read_rows(str(path), *PAIRS, optional="negative")
    assert rows.to_list() == [{"query": "a\u2028", "positive": "b", "negative": "c"}]
    assert shared(monkeypatch).read_rows(str(path), *PAIRS).column_names == [*PAIRS]
