"""The about file: strict, all problems at once, and a schema that agrees."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from support import builds
from support.published import ABOUT

from pipeline.config import about_schema, load_about
from pipeline.core.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    path = folder / "about.yaml"
    path.write_text(text)
    return path


def is_valid(text: str) -> bool:
    return bool(Draft202012Validator(about_schema()).is_valid(yaml.safe_load(text) or {}))


def test_what_is_not_said_is_none(tmp_path: Path) -> None:
    about = load_about(write(tmp_path, "{}"))
    assert (about.title, about.provider.name, about.sources) == (None, None, ())
    assert about.folder == tmp_path
    told = load_about(write(tmp_path, ABOUT))
    assert told.authors == ("Anna Example", "Jonas Example")
    assert [one.name for one in told.sources] == ["letters", "notes", "tides"]
    assert is_valid("{}")
    assert is_valid(ABOUT)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("titel: x", 'titel: got an unknown key.*did you mean "title"'),
        ("date: 2026-11-30", "date: got 2026-11-30.*in quotes"),
        ("date: '2026-13-01'", "date: got .*expected a date in quotes"),
        ("version: '1.0'", "version: got .*expected a version"),
        ("language: english", "language: got .*expected a code of ISO 639"),
        ("url: javascript:x", "url: got .*expected an http"),
        ("url: 'https://a b'", "url: got .*expected an http"),
        ("doi: 10.1/x", "doi: got .*expected a DOI"),
        ('title: "a\\nb"', "title: got .*expected a line of text"),
        ("provider: Anna", "provider: got .*expected a mapping"),
        ("sources: {letters: {kind: publick}}", 'kind: got .*did you mean "public"'),
        ("sources: {../x: {kind: public}}", "expected a name"),
        ("sources: []", "sources: got"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_about(write(tmp_path, f"{line}\n"))
    assert re.search(complaint, raised.value.message)
    # YAML 1.1, which this reads, takes the date without quotes for no text either.
    assert line.startswith("date: 2026") or not is_valid(line)


def test_all_problems_are_listed_with_their_place(tmp_path: Path) -> None:
    path = write(tmp_path, "titel: x\nversion: '1'\nsources:\n  a: {kind: x}\n")
    with pytest.raises(ConfigError) as raised:
        load_about(path)
    lines = raised.value.message.splitlines()
    places = [f"{path}:{at}" for at in ("1:1", "2:10", "4:13")]
    assert [line.split(": ")[0] for line in lines] == places
    with pytest.raises(ConfigError, match="got no file"):
        load_about(tmp_path / "none.yaml")


def test_the_schema_is_printed(tmp_path: Path) -> None:
    Draft202012Validator.check_schema(about_schema())
    assert json.loads(builds.run_well("schema", "about")) == about_schema()
    described: list[Any] = [one.get("description") for one in about_schema()["properties"].values()]
    assert all(described)
