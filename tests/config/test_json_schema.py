"""The JSON Schema accepts what loading accepts, describes every key and refuses unknown ones."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]
from jsonschema import Draft202012Validator  # type: ignore[import-untyped,unused-ignore]
from support.paths import SHARED

from pipeline.config.json_schema import mixture_schema
from pipeline.config.load import load_config, load_mixture
from pipeline.config.replay import Replay
from pipeline.core.errors import ConfigError

GOLDEN = SHARED / "golden"

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
assumptions:
  - One thing.
  - {says: Another., confidence: 0.75, because: [org/set/train/books, "the card, page 2"]}
tokens: 12B
scale: 1/1000
phase: decay.2
tokenizer:
  name: org/model
  revision: 0123456789abcdef0123456789abcdef01234567
  add_prefix_space: true
chunk:
  algorithm: ettin-slice-v1
  size: 8192
  min_size: 512
  skip_below: 32
  add_eos: true
  seed: 42
sources:
  books: {category: long texts, from: {path: [a/*.gz, b.jsonl], text: body, id: null}, tokens: 5M}
  code: {from: {path: c, id: key, on_missing: skip}, epochs: 2.5}
  wiki: {from: {path: c}, epochs: 3/2, expected: 7.3B, licence: CC BY-SA 4.0}
  web: {from: {path: c}, tokens: 12000, max_repetition: 4}
  long:
    from: {path: c}
    tokens: 7M
    sample: {algorithm: ettin-longest-first-v1, seed: 1, first: [long_0004, long_0000]}
  rest: {from: {path: c}, tokens: all}
  half: {from: {path: c}, share: 50%}
  fifth: {from: {path: c}, share: 0.2}
  others: {from: {path: c}, share: 3/10, max_repetition: 2}
  hub:
    from:
      {hub: org/set, revision: v1, files: "data/**", partition: path, files_per_partition: 100}
    tokens: all
  card: {from: {hub: org/set, config: en, split: train}, tokens: all}
  dolma: {from: {url: "https://host/a-{0000..0099}.json.gz"}, tokens: all}
  rows:
    from:
      url: [s3://bucket/**/*.mds, "https://host/b.mds"]
      decode:
        tokenizer: org/other
        revision: 89abcdef0123456789abcdef0123456789abcdef
        clean_up: false
    tokens: all
    filters: [length, {length: {min_chars: 200, max_chars: 1000000}}, python: "./own.py:keep",
      python: {function: rules.age:keep, arguments: {least: 0.5}, returns: text, packages: [numpy]},
      datatrove: {filter: RegexFilter, options: {regex_exp: x}, files: [a.txt]}]
dedup:
  scope: source
  exact: true
  minhash: {algorithm: minhash-v1, ngram_words: 4, num_bands: 10, rows_per_band: 9, seed: 2}
decontaminate: {algorithm: ngrams-v1, path: [evals/*.jsonl], text: question, ngram_words: 11}
validation: {algorithm: validation-v1, fraction: 0.005, seed: 3, chunker: null}
keep_dropped: 0.01
sample: {algorithm: ettin-partitions-v1, seed: 42}
order:
  algorithm: ettin-pcg64dxsm-v1
  seed: 21
  epoch: 1
  global_batch_size: 32
  max_seq_len: 7999
  allow_cut: true
  view: decoder
  window_tokens: 8.5B
  format: mds
  rows: index
  partitions: listed
  listing: lists/index.json
shards:
  {dtype: uint16, size_limit: 100kB, header_compression: zstd, index_compression: zstd}
on_error: skip
max_bad: 0.02
max_document_bytes: 1GiB
"""

# Each replaces a piece of FULLEST by something that neither the schema nor loading accepts.
REFUSED = [
    ("name: fullest", "nmae: fullest"),
    ("function: rules.age:keep", "function: rules.age"),
    ("arguments: {least: 0.5}", "arguments: 0.5"),
    ("returns: text", "returns: texts"),
    ("filter: RegexFilter", "filter: Regex Filter"),
    ("name: fullest", "name: a/b"),
    ("name: fullest", "name: a..b"),
    ("name: fullest", "name: 5"),
    ("rows: index", "rows: none"),
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
    ("files_per_partition: 100", "files_per_partition: 0"),
    ("files_per_partition: 100", "files_per_partition: ten"),
    ("partitions: listed", "partitions: random"),
    ("share: 50%", "share: 5 %"),
    ("share: 50%", "share: half"),
    ("share: 0.2", "share: 2"),
    ("share: 0.2", "share: 0"),
    ("share: 3/10", "share: 3/0"),
    ("tokens: 12B", "tokens: all"),
    ("epochs: 2.5", "epochs: 0"),
    ("epochs: 2.5", "epochs: -1"),
    ("epochs: 3/2", "epochs: 3/0"),
    ("epochs: 3/2", "epochs: twice"),
    ("view: decoder", "view: encodr"),
    ("format: mds", "format: csv"),
    ("algorithm: ettin-pcg64dxsm-v1", "algorithm: feistel-v2"),
    ("size_limit: 100kB", "size_limit: 100"),
    ("size_limit: 100kB", "size_limit: 100B"),
    ("header_compression: zstd", "header_compression: gz"),
    ("on_error: skip", "on_error: null"),
    ("max_bad: 0.02", "max_bad: 2"),
    ("max_bad: 0.02", "max_bad: -1"),
    ("max_document_bytes: 1GiB", "max_document_bytes: true"),
    ("max_document_bytes: 1GiB", "max_document_bytes: 1"),
    ("revision: 0123", "revision: 123"),
    ("  seed: 21\n", ""),
    ("  books:", "  ../books:"),
    ("  - One thing.\n", "  - [One thing.]\n"),
    ("{says: Another., ", "{"),
    ("confidence: 0.75", "confidence: 75"),
    ("because: [org/set/train/books, ", "because: [1, "),
    ("scale: 1/1000", "scale: 1/0"),
    ("scale: 1/1000", "scale: 1001"),
    ("scale: 1/1000", "origins: [a]"),
    ("scale: 1/1000", "origins: {a: {fro: {path: b}}}"),
    ("scale: 1/1000", "extends: /m.yaml"),
    ("scale: 1/1000", "extends: m"),
    ("scale: 1/1000", "pool: {hub: org/pool}"),
    ("expected: 7.3B", "expected: all"),
    ("max_repetition: 4", "max_repetition: 0"),
    ("hub: org/set, revision", "hub: org, revision"),
    ("partition: path", "partition: folder"),
    ('url: "https://host/a-{0000..0099}.json.gz"', "url: host/a"),
    ("        tokenizer: org/other\n", ""),
    ("revision: 89ab", "revision: 89A"),
    ("[length, ", "[lenght, "),
    ("min_chars: 200", "min_chars: -1"),
    ("scope: source", "scope: file"),
    ("exact: true", "exact: 1"),
    ("algorithm: minhash-v1", "algorithm: minhash"),
    ("num_bands: 10", "num_bands: 0"),
    ("algorithm: ngrams-v1, path: [evals/*.jsonl], ", "algorithm: ngrams-v1, "),
    ("ngram_words: 11", "ngram_words: 0"),
    ("algorithm: validation-v1", "algorithm: validation"),
    ("fraction: 0.005", "fraction: 2"),
    ("keep_dropped: 0.01", "keep_dropped: 0"),
    ("algorithm: ettin-partitions-v1", "algorithm: ettin-partitions"),
    ("algorithm: ettin-partitions-v1, ", "algorithm: ettin-partitions-v1, first: a, "),
    ("first: [long_0004, long_0000]", "first: []"),
]

REPLAY = """\
name: replay
description: A pool in order.
assumptions: [One.]
pool: {hub: org/pool, revision: main, folder: train}
phase: ext
tokenizer: {name: t.json}
order: {seed: 1, global_batch_size: 8, max_seq_len: 1024}
shards: {dtype: uint16}
"""


def is_valid(text: str) -> bool:
    return bool(Draft202012Validator(mixture_schema()).is_valid(yaml.safe_load(text)))


def properties(part: dict[str, Any], where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every key with what the schema says of it, those of sources once."""
    for name, child in part.get("properties", {}).items():
        yield f"{where}.{name}", child
        yield from properties(child, f"{where}.{name}")
    for child in part.get("anyOf", ()):
        yield from properties(child, where)
    if "items" in part:
        yield from properties(part["items"], where)
    if where == ".sources":
        yield where + ".*", {"description": "A source."}
        yield from properties(mixture_schema()["$defs"]["source"], f"{where}.*")


def test_the_document_is_a_valid_schema_and_json() -> None:
    document = mixture_schema()
    Draft202012Validator.check_schema(document)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert document["$id"] == "mixture.schema.json"


@pytest.mark.parametrize("text", [SMALLEST, FULLEST])
def test_good_mixtures_pass_both_the_schema_and_loading(text: str) -> None:
    assert is_valid(text)
    load_mixture(Path("m.yaml"), text=text.encode())


def test_the_fullest_mixture_has_every_key() -> None:
    """Guards against keys that only the schema knows of, or that nothing tries."""
    found = {where for where, _ in properties(mixture_schema()) if ".filters" not in where}
    written = {*keys_of(yaml.safe_load(FULLEST)), *keys_of(yaml.safe_load(REPLAY))}
    assert found - written == {
        ".extends",
        ".origins",
        ".sources.*.origin",
        ".pool.path",
    }


def keys_of(value: Any, where: str = "") -> Iterator[str]:
    for item in value if isinstance(value, list) else ():
        yield from keys_of(item, where)
    for name, child in value.items() if isinstance(value, dict) else ():
        inside = f"{where}.*" if where == ".sources" else f"{where}.{name}"
        yield inside
        yield from keys_of(child, inside)


def test_a_replay_passes_both_the_schema_and_loading() -> None:
    assert is_valid(REPLAY)
    assert isinstance(load_config(Path("m.yaml"), text=REPLAY.encode()), Replay)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("name: replay\n", ""),
        ("hub: org/pool", "hub: org"),
        ("folder: train", "folders: train"),
        ("pool: {hub: org/pool, revision: main, folder: train}", "pool: null"),
        ("phase: ext", "chunk: {size: 64}"),
        ("phase: ext", "sources: {a: {from: {path: b}}}"),
        ("seed: 1, ", ""),
    ],
)
def test_bad_replays_pass_neither_the_schema_nor_loading(good: str, bad: str) -> None:
    assert REPLAY.count(good) == 1
    text = REPLAY.replace(good, bad)
    assert not is_valid(text)
    with pytest.raises(ConfigError):
        load_config(Path("m.yaml"), text=text.encode())


def test_a_file_that_extends_another_need_not_say_what_that_says() -> None:
    for text in (
        "extends: base.yaml",
        "extends: ../a/base.yml\nchunk: {seed: 1}\norder: {epoch: 2}",
        "extends: base.yaml\nsources: {a: {tokens: 5M}, b: {origin: c}, d: null}",
        "extends: base.yaml\nsources: {a: {from: {decode: {revision: null}}}}",
        "extends: base.yaml\npool: {revision: main}",
    ):
        assert is_valid(text), text
    assert not is_valid("extends: base.yaml\nchunk: {seed: -1}")
    assert not is_valid("extends: base.yaml\nsources: {a: {token: 5M}}")


def test_with_origins_a_source_need_not_say_where_it_is_from() -> None:
    text = SMALLEST.replace("{from: {path: books.jsonl}}", "{tokens: 5M}")
    assert text != SMALLEST
    assert not is_valid(text)
    assert is_valid(text + "origins: {books: {from: {path: books.jsonl}}}")


@pytest.mark.parametrize(("good", "bad"), REFUSED)
def test_bad_mixtures_pass_neither_the_schema_nor_loading(good: str, bad: str) -> None:
    assert FULLEST.count(good) == 1
    text = FULLEST.replace(good, bad)
    assert not is_valid(text)
    with pytest.raises(ConfigError):
        load_mixture(Path("m.yaml"), text=text.encode())


def test_every_key_has_a_description_that_is_a_sentence() -> None:
    found = dict(properties(mixture_schema()))
    assert len(found) > 70
    for where, child in found.items():
        is_name_of_filter = ".filters." in where and where.count(".") == 4
        assert is_name_of_filter or child["description"].endswith("."), where


def test_every_mapping_refuses_unknown_keys() -> None:
    document = mixture_schema()
    records = list(mappings(document))
    assert len(records) > 15
    assert all(part["additionalProperties"] is False for part in records)


def mappings(part: Any) -> Iterator[dict[str, Any]]:
    """Yield every mapping of known keys, but not what only adds to one."""
    if isinstance(part, dict):
        if part.get("type") == "object" and "properties" in part:
            yield part
        for child in part.values():
            yield from mappings(child)
    for child in part if isinstance(part, list) else ():
        yield from mappings(child)


def test_defaults_are_those_of_loading() -> None:
    declared = load_mixture(Path("m.yaml"), text=SMALLEST.encode()).declaration()
    found = dict(properties(mixture_schema()))
    assert found[".chunk.algorithm"]["default"] == declared["chunk"]["algorithm"] == "whole-v1"
    assert found[".order.algorithm"]["default"] == declared["order"]["algorithm"] == "feistel-v1"
    assert found[".shards"]["default"] == declared["shards"]
    assert found[".order.window_tokens"]["default"] == declared["order"]["window_tokens"]


def test_required_keys_are_required() -> None:
    order = "order: {seed: 1, global_batch_size: 8, max_seq_len: 1024}"
    for needed in (
        "name: smallest\n",
        "chunk: {size: 1024}\n",
        "size: 1024}",
        "from: {path: books.jsonl}",
        order,
        "seed: 1, ",
        "global_batch_size: 8, ",
    ):
        assert SMALLEST.count(needed) == 1
        without = SMALLEST.replace(needed, "}" * needed.endswith("1024}") * (needed != order))
        assert not is_valid(without), needed


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden mixtures lie beside the repository")
def test_the_golden_mixtures_pass() -> None:
    files = sorted(GOLDEN.glob("*/mixture.yaml"))
    assert len(files) == 5
    assert all(is_valid(file.read_text()) for file in files)
