"""The script that makes the facts that ship: all of them are written, or none."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from support.paths import REPOSITORY

SCRIPT = "import_published.py"
FACT: dict[str, Any] = {
    "repo": "org/name",
    "path": "train/a/index.json",
    "kind": "size",
    "value": {"size": "1 kB"},
    "revision": "",
    "source": "https://example.org",
    "note": "",
}


def run(folder: Path, facts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(exist_ok=True)
    (folder / SCRIPT).write_text((REPOSITORY / "manifests" / SCRIPT).read_text())
    (folder / "facts.json").write_text(facts)
    (folder / "published").mkdir(exist_ok=True)
    monkeypatch.setattr(sys, "argv", [SCRIPT, str(folder / "facts.json")])
    runpy.run_path(str(folder / SCRIPT), run_name="__main__")


def test_what_is_left_out_of_the_list_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, json.dumps([FACT, {**FACT, "repo": "org/other"}]), monkeypatch)
    names = {path.name for path in (tmp_path / "published").iterdir()}
    assert names == {"org--name.json", "org--other.json"}
    run(tmp_path, json.dumps([FACT]), monkeypatch)
    [path] = (tmp_path / "published").iterdir()
    assert json.loads(path.read_bytes())["repo"] == "org/name"


@pytest.mark.parametrize("facts", ["", "3", "[3]", "[{}]", '[{"repo": "a/b", "path": 3}]'])
def test_what_is_no_list_of_facts_writes_nothing(
    facts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match=r"facts\.json: got no list of facts"):
        run(tmp_path, facts, monkeypatch)
    assert not list((tmp_path / "published").iterdir())
