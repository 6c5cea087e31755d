"""The JSON Schema accepts what loading accepts, describes every key and refuses unknown ones."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]
from jsonschema import Draft202012Validator  # type: ignore[import-untyped,unused-ignore]

from pipeline.errors import MixtureError
from pipeline.mixture import load, schema

GOLDEN = Path(__file__).parents[2] / "shared" / "golden"

SMALLEST = """\
name: smallest
chunk: {size: 1024}
sources:
  books: {from: {path: books.jsonl}}
order: {seed: 1, global_batch_size: 8, max_seq_len: 1024}
"""

FULLEST = """\
name: fullest
description: |
  Every key,
  in two lines.
phase: decay.2
tokenizer: {name: org/model, revision: 0123456789abcdef0123456789abcdef01234567}
chunk:
  algorithm: ettin-slice-v1
  size: 8192
  min_size: 512
  skip_below: 32
  add_eos: true
  seed: 42
sources:
  books: {category: long texts, from: {path: [a/*.gz, b.jsonl], text: body, id: null}, tokens: 5M}
  code: {from: {path: c, id: key}, epochs: 2.5}
  wiki: {from: {path: c}, epochs: 3/2}
  web: {from: {path: c}, tokens: 12000}
  rest: {from: {path: c}, tokens: all}
order:
  algorithm: ettin-pcg64dxsm-v1
  seed: 21
  epoch: 1
  global_batch_size: 32
  max_seq_len: 7999
  view: decoder
  window_tokens: 8.5B
  format: mds
shards: {dtype: uint16, size_limit: 100kB}
on_error: skip
"""

# Each replaces a piece of FULLEST by something that neither the schema nor loading accepts.
REFUSED = [
    ("name: fullest", "nmae: fullest"),
    ("name: fullest", "name: a/b"),
    ("name: fullest", "name: a..b"),
    ("name: fullest", "name: 5"),
    ("size: 8192", "size: 3"),
    ("size: 8192", "size: 1000001"),
    ("size: 8192", 'size: "8192"'),
    ("add_eos: true", 'add_eos: "true"'),
    ("category:", "categroy:"),
    ("path: [a/*.gz, b.jsonl]", "path: []"),
    ("path: [a/*.gz, b.jsonl]", "paths: [a]"),
    ("tokens: 5M", "tokens: 5m"),
    ("tokens: 5M", "tokens: every"),
    ("tokens: 5M", "tokens: 0"),
    ("tokens: 5M", "tokens: 1.5"),
    ("epochs: 2.5", "epochs: 0"),
    ("epochs: 2.5", "epochs: -1"),
    ("epochs: 3/2", "epochs: 3/0"),
    ("epochs: 3/2", "epochs: twice"),
    ("view: decoder", "view: encodr"),
    ("format: mds", "format: csv"),
    ("algorithm: ettin-pcg64dxsm-v1", "algorithm: feistel-v2"),
    ("size_limit: 100kB", "size_limit: 100"),
    ("size_limit: 100kB", "size_limit: 100B"),
    ("on_error: skip", "on_error: null"),
    ("revision: 0123", "revision: 123"),
    ("  seed: 21\n", ""),
    ("  books:", "  ../books:"),
]


def is_valid(text: str) -> bool:
    return bool(Draft202012Validator(schema.document()).is_valid(yaml.safe_load(text)))


def properties(part: dict[str, Any], where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, child in part.get("properties", {}).items():
        yield f"{where}.{name}", child
        yield from properties(child, f"{where}.{name}")
    if isinstance(part.get("additionalProperties"), dict):
        yield from properties(part["additionalProperties"], f"{where}.*")


def test_the_document_is_a_valid_schema_and_json() -> None:
    document = schema.document()
    Draft202012Validator.check_schema(document)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert document["$id"] == "mixture.schema.json"


@pytest.mark.parametrize("text", [SMALLEST, FULLEST])
def test_good_mixtures_pass_both_the_schema_and_loading(text: str) -> None:
    assert is_valid(text)
    load(Path("m.yaml"), text=text.encode())


@pytest.mark.parametrize(("good", "bad"), REFUSED)
def test_bad_mixtures_pass_neither_the_schema_nor_loading(good: str, bad: str) -> None:
    assert FULLEST.count(good) == 1
    text = FULLEST.replace(good, bad)
    assert not is_valid(text)
    with pytest.raises(MixtureError):
        load(Path("m.yaml"), text=text.encode())


def test_every_key_has_a_description_that_is_a_sentence() -> None:
    found = dict(properties(schema.document()))
    assert len(found) == 38
    for where, child in found.items():
        assert child["description"].endswith("."), where


def test_every_mapping_refuses_unknown_keys() -> None:
    document = schema.document()
    parts = [document, *(child for _, child in properties(document))]
    records = [part for part in parts if "properties" in part]
    assert len(records) == 7
    assert all(part["additionalProperties"] is False for part in records)


def test_defaults_are_those_of_loading() -> None:
    declared = load(Path("m.yaml"), text=SMALLEST.encode()).declaration()
    found = dict(properties(schema.document()))
    assert found[".chunk.algorithm"]["default"] == declared["chunk"]["algorithm"] == "whole-v1"
    assert found[".order.algorithm"]["default"] == declared["order"]["algorithm"] == "feistel-v1"
    assert found[".shards"]["default"] == declared["shards"]
    assert found[".order.window_tokens"]["default"] == declared["order"]["window_tokens"]


def test_required_keys_are_required() -> None:
    document = schema.document()
    assert document["required"] == ["name", "chunk", "sources", "order"]
    found = dict(properties(document))
    assert found[".order"]["required"] == ["seed", "global_batch_size", "max_seq_len"]
    assert found[".chunk"]["required"] == ["size"]
    assert found[".sources.*.from"]["required"] == ["path"]


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden mixtures lie beside the repository")
def test_the_golden_mixtures_pass() -> None:
    files = sorted(GOLDEN.glob("*/mixture.yaml"))
    assert len(files) == 5
    assert all(is_valid(file.read_text()) for file in files)
