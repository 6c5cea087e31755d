"""What is written of the examples can be typed, and one line says what is wrong with input."""

import importlib
import json
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
        (
            None,
            "rows.jsonl: got [Errno 2] No such file or directory: 'rows.jsonl', expected JSON lines"
            " with query, positive",
        ),
        (
            '\ufeff{"query": "a", "positive": "b"}\r\n{"query": "a", "positive": 3}\r\n',
            "rows.jsonl:2: positive: got 3, expected text",
        ),
        (
            '{"query": "a", "positive": "b"}\n\n{"query": "", "positive": "b", "negative": "c"}\n',
            "rows.jsonl:1: got the fields query, positive, expected query, positive, negative",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    content: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("rows.jsonl").write_text(content)
    with pytest.raises(SystemExit) as stopped:
        shared(monkeypatch).read_rows("rows.jsonl", *PAIRS, optional="negative")
    assert str(stopped.value) == message


def test_labels_are_all_words_or_all_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.json"
    for first, second in ((1, 0), ("b", "a")):
        lines = [json.dumps({"text": "x", "label": label}) for label in (first, second)]
        path.write_text("\n".join(lines))
        rows = shared(monkeypatch).read_rows(str(path), "text", "label")
        assert rows["label"][:] == [first, second]
    path.write_text("\n".join([lines[0], '{"text": "x", "label": 1}']))
    with pytest.raises(SystemExit, match="json:2: label: got 1, expected text"):
        shared(monkeypatch).read_rows(str(path), "text", "label")


@pytest.mark.parametrize(
    ("name", "architectures", "out", "message"),
    [
        ("sft", ["ModernBertForMaskedLM"], "out", "expected a class that ends in ForCausalLM"),
        ("sparse", ["ModernBertDecoderForCausalLM"], "out", "that ends in ForMaskedLM"),
        ("dense", None, "out", "model: got no model, expected a folder that `ettin-data export`"),
        ("dense", ["BertModel"], "file/out", "out: got a file there, expected a folder"),
    ],
)
def test_models_and_folders_are_looked_at_before_libraries(
    name: str,
    architectures: list[str] | None,
    out: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "file").touch()
    if architectures is not None:
        config = json.dumps({"architectures": architectures})
        (tmp_path / "model" / "config.json").write_text(config)
    with pytest.raises(SystemExit, match=message):
        run(monkeypatch, name, tmp_path / "model", "--out", tmp_path / out)


def test_a_file_may_have_more_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": 1, "positive": "b", "negative": "c", "query": "a\u2028"}\n')
    rows = shared(monkeypatch).read_rows(str(path), *PAIRS, optional="negative")
    assert rows.to_list() == [{"query": "a\u2028", "positive": "b", "negative": "c"}]
    assert shared(monkeypatch).read_rows(str(path), *PAIRS).column_names == [*PAIRS]
