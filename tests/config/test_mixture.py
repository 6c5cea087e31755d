"""A mixture is read strictly, its problems are told together, its fingerprint is its meaning."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]
from hypothesis import given, settings
from hypothesis import strategies as st
from support.paths import SHARED

from pipeline.config.declaration import OrderSpec, ShardSpec, TokenizerSpec
from pipeline.config.load import load_mixture
from pipeline.config.mixture import ChunkSpec, Mixture
from pipeline.config.source import Origin, Source
from pipeline.core.errors import ConfigError

GOLDEN = SHARED / "golden"
NAME = "a name (letters, digits, . _ -; at most 100; first a letter or digit; no ..)"
SOURCE_NAME = f"{NAME}, and not index.json"
TOKENS = "a token amount such as 837.2B, 5M, 64k or 12000"
DIFFER = "which YAML 1.1 and YAML 1.2 read differently"
TOP_KEYS = (
    "assumptions, chunk, decontaminate, dedup, description, extends, keep_dropped, name, on_error, "
    "order, origins, phase, sample, scale, shards, sources, tokenizer, validation"
)
SOURCE_KEYS = "category, epochs, expected, filters, from, licence, max_repetition, origin, tokens"
ORIGIN_KEYS = "config, decode, files, hub, id, partition, path, revision, split, text, url"
ORDER_KEYS = "algorithm, epoch, format, global_batch_size, max_seq_len, seed, view, window_tokens"
REVISION = "0123456789abcdef0123456789abcdef01234567"

SMALLEST = """\
name: smallest
chunk: {size: 1024}
sources:
  books: {from: {path: books.jsonl}}
order: {seed: 1, global_batch_size: 8, max_seq_len: 1024}
"""

# Every value a few tests replace stands on a line of its own.
ETTIN = """\
# A comment.
name: ettin
description: In a few words.
phase: checkpoint
tokenizer:
  name: modernbert
  add_prefix_space: true
chunk:
  algorithm: ettin-reencode-v1
  size: 1024
  min_size: 512
  skip_below: 128
  add_eos: false
  seed: 42
sources:
  peps:
    category: scientific
    from: {path: peps/*.json.gz}
    epochs: 3/2
  books:
    category: reference
    from:
      path: [a/*.json.gz, b/*.json.gz]
      id: null
    tokens: 837.2B
order:
  algorithm: ettin-pcg64dxsm-v1
  seed: 21
  epoch: 0
  global_batch_size: 32
  max_seq_len: 1024
  view: encoder   # Another comment.
shards:
  dtype: uint16
  size_limit: 100kB
"""


def read(text: str, *overrides: str, path: str = "mixtures/a.yaml") -> Mixture:
    return load_mixture(Path(path), overrides, text=text.encode())


def problems(text: str | bytes, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_mixture(
            Path("a.yaml"), overrides, text=text if isinstance(text, bytes) else text.encode()
        )
    return str(caught.value).split("\n")


def changed(good: str, bad: str, text: str = ETTIN) -> str:
    assert text.count(good) == 1
    return text.replace(good, bad)


# What is read.


def test_a_full_mixture_is_read_to_the_last_value() -> None:
    assert read(ETTIN) == Mixture(
        name="ettin",
        description="In a few words.",
        phase="checkpoint",
        tokenizer=TokenizerSpec(name="modernbert", revision=None, add_prefix_space=True),
        chunk=ChunkSpec(
            algorithm="ettin-reencode-v1",
            size=1024,
            min_size=512,
            skip_below=128,
            add_eos=False,
            seed=42,
        ),
        sources=(
            Source(
                name="books",
                category="reference",
                origin=Origin(path=("a/*.json.gz", "b/*.json.gz"), text="text", id=None),
                tokens=837_200_000_000,
            ),
            Source(
                name="peps",
                category="scientific",
                origin=Origin(path=("peps/*.json.gz",), text="text", id="id"),
                epochs=Fraction(3, 2),
            ),
        ),
        order=OrderSpec(
            algorithm="ettin-pcg64dxsm-v1",
            seed=21,
            epoch=0,
            global_batch_size=32,
            max_seq_len=1024,
            view="encoder",
            window_tokens=8_500_000_000,
        ),
        shards=ShardSpec(dtype="uint16", size_limit=100_000),
        on_error="stop",
        folder=Path("mixtures"),
        overrides=(),
    )


def test_defaults_fill_in_what_a_small_mixture_leaves_out() -> None:
    assert read(SMALLEST).declaration() == {
        "name": "smallest",
        "scale": "1/1",
        "dedup": None,
        "decontaminate": None,
        "validation": None,
        "keep_dropped": None,
        "sample": {"algorithm": "keyed-v1", "seed": 0},
        "phase": "checkpoint",
        "tokenizer": {"name": "modernbert", "revision": None, "add_prefix_space": False},
        "chunk": {
            "algorithm": "whole-v1",
            "size": 1024,
            "min_size": None,
            "skip_below": None,
            "add_eos": False,
            "seed": None,
        },
        "sources": {
            "books": {
                "category": "uncategorised",
                "from": {
                    "path": ["books.jsonl"],
                    "hub": None,
                    "url": None,
                    "revision": None,
                    "files": None,
                    "config": None,
                    "split": None,
                    "text": "text",
                    "id": "id",
                    "partition": "name",
                    "decode": None,
                },
                "filters": [],
                "tokens": "all",
                "epochs": None,
                "max_repetition": 1,
                "expected": None,
            }
        },
        "order": {
            "algorithm": "feistel-v1",
            "seed": 1,
            "epoch": 0,
            "global_batch_size": 8,
            "max_seq_len": 1024,
            "view": "stored",
            "window_tokens": 8_500_000_000,
            "format": "parquet",
        },
        "shards": {"dtype": "uint32", "size_limit": 67_108_864},
        "on_error": "stop",
    }


def test_the_file_is_read_from_disk_and_its_folder_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(SMALLEST)
    assert load_mixture(file) == read(SMALLEST, path=str(file))
    assert load_mixture(file).folder == tmp_path


@pytest.mark.parametrize(
    ("written", "epochs"),
    [("2", "2/1"), ("2.5", "5/2"), ("10/4", "5/2"), ('"3/2"', "3/2"), ("0.1", "1/10")],
)
def test_epochs_are_exact_rational_numbers(written: str, epochs: str) -> None:
    declared = read(changed("3/2", written)).declaration()
    assert declared["sources"]["peps"]["epochs"] == epochs
    assert declared["sources"]["peps"]["tokens"] is None


@pytest.mark.parametrize(
    ("written", "meant"), [("1e-6", "0.000001"), ("2.5E-2", "0.025"), ("1e2", "100")]
)
def test_a_scale_with_an_exponent_is_told_what_it_means(written: str, meant: str) -> None:
    [problem] = problems(SMALLEST + f"scale: {written}\n")
    assert problem.endswith(f"; did you mean {meant}?")
    assert read(SMALLEST + f"scale: {meant}\n").scale == Fraction(written)


@pytest.mark.parametrize("name", ["fast/tokenizer.json", "tokenizer.json", "a/b/c.json"])
def test_a_tokenizer_may_be_a_file(name: str) -> None:
    assert read(SMALLEST, f"tokenizer.name={name}").tokenizer.name == name


def test_a_tokenizer_may_be_on_the_hub_at_a_commit() -> None:
    spec = read(SMALLEST, "tokenizer.name=org/name", f"tokenizer.revision={REVISION}").tokenizer
    assert (spec.name, spec.revision) == ("org/name", REVISION)


def test_an_anchor_repeats_a_value() -> None:
    text = SMALLEST.replace("{path: books.jsonl}", "&where {path: books.jsonl}")
    text = changed("order:", "  code: {from: *where}\norder:", text)
    books, code = read(text).sources
    assert books.origin == code.origin
    books, code = read(text, "sources.code.from.text=body").sources
    assert (books.origin.text, code.origin.text) == ("text", "body")


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert read("\ufeff" + SMALLEST) == read(SMALLEST)


# The fingerprint.


def test_the_fingerprint_is_frozen() -> None:
    """A change here is a change of every published fingerprint; say so in the commit."""
    assert (
        read(SMALLEST).fingerprint
        == "ffd980bf8fce5107f0521b9a98f8f20a55fed6d22a03c5e754a68eed9701d0a0"
    )
    assert (
        read(ETTIN).fingerprint
        == "14189c615ae58603bb1a90a3834fd2db94a84f704d1a712c201f8d0d7d56ea78"
    )


def test_what_changes_no_bytes_does_not_change_the_fingerprint() -> None:
    fingerprint = read(ETTIN).fingerprint
    assert read(ETTIN.replace("# A comment.", "")).fingerprint == fingerprint
    assert read(changed("In a few words.", "In others.")).fingerprint == fingerprint
    assert read(ETTIN + "assumptions: [One., Two.]\n").fingerprint == fingerprint
    assert read(ETTIN, "sources.books.licence=MIT").fingerprint == fingerprint
    assert read(ETTIN + "scale: 1.0\n").fingerprint == fingerprint
    assert read(ETTIN + "dedup: null\nvalidation: null\n").fingerprint == fingerprint
    assert read(ETTIN, path="elsewhere/b.yaml").fingerprint == fingerprint
    assert read(changed("837.2B", "837200000000")).fingerprint == fingerprint
    assert read(changed("100kB", '"100000"')).fingerprint == fingerprint
    assert read(changed("3/2", "1.50")).fingerprint == fingerprint
    assert read(changed("phase: checkpoint\n", "")).fingerprint == fingerprint
    assert read(ETTIN + "on_error: stop\n").fingerprint == fingerprint
    swapped = "sources.books.from.path=[b/*.json.gz, a/*.json.gz]"
    assert read(ETTIN, swapped).fingerprint == fingerprint


OTHER_VALUES = [
    "name=other",
    "phase=decay",
    "tokenizer.name=t.json",
    "tokenizer.add_prefix_space=false",
    "chunk.algorithm=ettin-slice-v1",
    "chunk.size=1025",
    "chunk.min_size=511",
    "chunk.skip_below=127",
    "chunk.add_eos=true",
    "chunk.seed=41",
    "sources.books.category=other",
    "sources.books.from.path=[b/*.json.gz, c/*.json.gz]",
    "sources.books.from.text=body",
    "sources.books.from.id=id",
    "sources.books.tokens=1",
    "sources.peps.epochs=2",
    "sources.peps.expected=5M",
    "sources.books.max_repetition=2",
    "sources.books.filters=[length]",
    "sources.books.filters=[length: {min_chars: 1}]",
    "sources.books.filters=[{length: {min_chars: 1}}, pii]",
    "sources.books.filters=[pii, {length: {min_chars: 1}}]",
    "sources.books.from={path: [a/*.json.gz, b/*.json.gz], id: null, partition: path}",
    "sources.books.from={hub: org/set, files: a}",
    "sources.books.from={hub: org/other, files: a}",
    "sources.books.from={hub: org/set, files: b}",
    "sources.books.from={hub: org/set, files: a, revision: v1}",
    "sources.books.from={hub: org/set, split: a}",
    "sources.books.from={hub: org/set, split: a, config: b}",
    "sources.books.from={url: https://host/a}",
    "sources.books.from={path: a.mds, decode: {tokenizer: org/t}}",
    "sources.books.from={path: a.mds, decode: {tokenizer: t.json}}",
    f"sources.books.from={{path: a.mds, decode: {{tokenizer: org/t, revision: {REVISION}}}}}",
    "scale=0.001",
    "dedup={}",
    "dedup={scope: source}",
    "dedup={exact: false, minhash: {}}",
    "dedup={minhash: {}}",
    "dedup={minhash: {seed: 2}}",
    "decontaminate={path: a}",
    "decontaminate={path: a, ngram_words: 8}",
    "validation={}",
    "validation={fraction: 0.01}",
    "keep_dropped=0.01",
    "sample.seed=1",
    "sample.algorithm=ettin-partitions-v1",
    "order.algorithm=feistel-v1",
    "order.seed=22",
    "order.epoch=1",
    "order.global_batch_size=33",
    "order.max_seq_len=1023",
    "order.view=decoder",
    "order.window_tokens=1B",
    "order.format=mds",
    "shards.dtype=uint32",
    "shards.size_limit=64MiB",
    "on_error=skip",
]


def test_every_other_value_changes_the_fingerprint() -> None:
    fingerprints = [
        read(ETTIN).fingerprint,
        *(read(ETTIN, one).fingerprint for one in OTHER_VALUES),
    ]
    assert len(set(fingerprints)) == 1 + len(OTHER_VALUES)


def shuffled(value: Any, pick: Callable[[list[Any]], list[Any]]) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: shuffled(value[name], pick) for name in pick(list(value))}


@settings(derandomize=True, max_examples=25)
@given(st.data())
def test_key_order_in_the_file_does_not_change_the_fingerprint(data: st.DataObject) -> None:
    tree = shuffled(yaml.safe_load(ETTIN), lambda names: data.draw(st.permutations(names)))
    assert read(json.dumps(tree)) == read(ETTIN)
    assert read(json.dumps(tree)).fingerprint == read(ETTIN).fingerprint


# Problems of single values.


@pytest.mark.parametrize(
    ("good", "bad", "problem"),
    [
        (
            "tokens: 837.2B",
            "tokns: 837.2B",
            f"25:5: sources.books.tokns: got an unknown key, expected one of {SOURCE_KEYS}; "
            'did you mean "tokens"?',
        ),
        (
            "tokens: 837.2B",
            "xyz: 1",
            f"25:5: sources.books.xyz: got an unknown key, expected one of {SOURCE_KEYS}",
        ),
        (
            "name: ettin",
            "name: 5",
            f"2:7: name: got 5, expected {NAME}; put it in quotes if it is text",
        ),
        ("name: ettin", "name: ../x", f'2:7: name: got "../x", expected {NAME}'),
        ("name: ettin", "name: a..b", f'2:7: name: got "a..b", expected {NAME}'),
        ("name: ettin", 'name: "a\\n"', f'2:7: name: got "a\\n", expected {NAME}'),
        ("name: ettin", "name: [a]", f"2:7: name: got a list, expected {NAME}"),
        (
            "name: modernbert",
            "name: ModernBert",
            '6:9: tokenizer.name: got "ModernBert", expected modernbert, the path of a .json '
            'file, or a Hub id org/name; did you mean "modernbert"?',
        ),
        (
            "name: modernbert",
            "name: modernbert\n  revision: main",
            '7:13: tokenizer.revision: got "main", expected a commit of 40 hex characters',
        ),
        (
            "size: 1024",
            'size: "1024"',
            '10:9: chunk.size: got "1024", expected an integer from 4 to 1,000,000',
        ),
        (
            "size: 1024",
            "size: 3",
            "10:9: chunk.size: got 3, expected an integer from 4 to 1,000,000",
        ),
        (
            "size: 1024",
            f"size: {'9' * 5000}",
            f"10:9: chunk.size: got {'9' * 57}..., expected an integer from 4 to 1,000,000",
        ),
        (
            "size: 1024",
            "size: 1024.0",
            "10:9: chunk.size: got 1024.0, expected an integer from 4 to 1,000,000",
        ),
        (
            "size: 1024",
            "size:",
            "10:8: chunk.size: got nothing, expected an integer from 4 to 1,000,000",
        ),
        (
            "add_eos: false",
            'add_eos: "false"',
            '13:12: chunk.add_eos: got "false", expected true or false',
        ),
        (
            "  algorithm: ettin-reencode-v1",
            "  algorithm: ettin-reencode",
            '9:14: chunk.algorithm: got "ettin-reencode", expected one of ettin-reencode-v1, '
            'ettin-slice-v1, whole-v1; did you mean "ettin-reencode-v1"?',
        ),
        (
            "{path: peps/*.json.gz}",
            "peps/*.json.gz",
            '18:11: sources.peps.from: got "peps/*.json.gz", expected a mapping with one '
            "of path, hub, url",
        ),
        (
            "{path: peps/*.json.gz}",
            "{text: body}",
            "18:11: sources.peps.from.path: got nothing, expected path (a glob of files), hub (a "
            "Hub id org/name) or url (an address)",
        ),
        (
            "path: [a/*.json.gz, b/*.json.gz]",
            "path: []",
            "23:13: sources.books.from.path: got an empty list, expected a glob of files, or a "
            "list of them",
        ),
        (
            "path: [a/*.json.gz, b/*.json.gz]",
            "path: [a, 5]",
            "23:17: sources.books.from.path[1]: got 5, expected a glob of files; put it in quotes "
            "if it is text",
        ),
        (
            "id: null",
            'id: ""',
            '24:11: sources.books.from.id: got "", expected a line of text, or null',
        ),
        (
            "837.2B",
            "837.2b",
            f'25:13: sources.books.tokens: got "837.2b", expected {TOKENS}; did you mean 837.2B?',
        ),
        (
            "837.2B",
            "12_000",
            f'25:13: sources.books.tokens: got "12_000", expected {TOKENS}; did you mean 12000?',
        ),
        (
            "837.2B",
            "All",
            f'25:13: sources.books.tokens: got "All", expected all or {TOKENS}; did you mean '
            '"all"?',
        ),
        ("837.2B", "[5M]", f"25:13: sources.books.tokens: got a list, expected all or {TOKENS}"),
        (
            "3/2",
            "0",
            "19:13: sources.peps.epochs: got 0, "
            "expected a number above 0 and at most 1000 such as 2, 2.5 or 3/2",
        ),
        (
            "3/2",
            "3/0",
            '19:13: sources.peps.epochs: got "3/0", '
            "expected a number above 0 and at most 1000 such as 2, 2.5 or "
            "3/2",
        ),
        (
            "3/2",
            "all",
            '19:13: sources.peps.epochs: got "all", '
            "expected a number above 0 and at most 1000 such as 2, 2.5 or "
            "3/2",
        ),
        (
            "view: encoder",
            "view: encodr",
            '32:9: order.view: got "encodr", expected one of stored, encoder, decoder; did you '
            'mean "encoder"?',
        ),
        (
            "seed: 21",
            "seed: -1",
            "28:9: order.seed: got -1, expected an integer from 0 to 4,294,967,295",
        ),
        (
            "100kB",
            "4GiB",
            "35:15: shards.size_limit: got 4GiB, expected from 1,024 to 4,294,967,295 bytes",
        ),
        (
            "100kB",
            "1023",
            "35:15: shards.size_limit: got 1023, expected from 1,024 to 4,294,967,295 bytes",
        ),
        (
            "shards:\n  dtype: uint16\n  size_limit: 100kB",
            "shards: null",
            "33:9: shards: got null, expected a mapping",
        ),
        (
            "view: encoder",
            'view: encoder\n  "\\e[31m": 1',
            f'33:3: "order.\\u001b[31m": got an unknown key, expected one of {ORDER_KEYS}',
        ),
        ("  peps:", "  a/b:", f'16:3: sources.a/b: got "a/b", expected {SOURCE_NAME}'),
        (
            "  peps:",
            "  index.json:",
            f'16:3: sources.index.json: got "index.json", expected {SOURCE_NAME}',
        ),
    ],
)
def test_a_wrong_value_is_refused_where_it_stands(good: str, bad: str, problem: str) -> None:
    assert problems(changed(good, bad)) == [f"a.yaml:{problem}"]


def test_required_keys_are_asked_for() -> None:
    assert problems("phase: x\n") == [
        f"a.yaml:1:1: name: got nothing, expected {NAME}",
        "a.yaml:1:1: order: got nothing, expected a mapping with global_batch_size, "
        "max_seq_len, seed",
        "a.yaml:1:1: chunk: got nothing, expected a mapping with size",
        "a.yaml:1:1: sources: got nothing, expected a mapping with at least one name",
    ]


def test_a_mixture_without_sources_is_refused() -> None:
    text = changed("sources:\n  books: {from: {path: books.jsonl}}", "sources: {}", SMALLEST)
    assert problems(text) == [
        "a.yaml:3:10: sources: got an empty mapping, expected a mapping with at least one name"
    ]


# Rules between two keys.


@pytest.mark.parametrize(
    ("good", "bad", "problem"),
    [
        (
            "size: 1024",
            "size: 9000",
            "10:9: chunk.size: got 9000, expected at most 8,999 with ettin-reencode-v1: "
            "token_decile.json has no key above 8k",
        ),
        (
            "min_size: 512",
            "min_size: 1023",
            "11:13: chunk.min_size: got 1023, expected at most size - 2, here 1,022",
        ),
        (
            "  min_size: 512\n",
            "",
            "9:3: chunk.min_size: got nothing, expected an integer from 0 to size - 2 with "
            "ettin-reencode-v1",
        ),
        (
            "  skip_below: 128\n",
            "",
            "9:3: chunk.skip_below: got nothing, expected an integer from 0 with ettin-reencode-v1",
        ),
        (
            "  seed: 42\n",
            "",
            "9:3: chunk.seed: got nothing, expected an integer from 0 to 4,294,967,295 with "
            "ettin-reencode-v1",
        ),
        (
            "tokens: 837.2B",
            "tokens: all\n    epochs: 2",
            "26:13: sources.books.epochs: got both tokens and epochs, expected only one of them",
        ),
        (
            "name: modernbert",
            "name: org/name",
            "6:3: tokenizer.revision: got nothing, expected a commit of 40 hex characters for the "
            'Hub id "org/name"',
        ),
        (
            "name: modernbert",
            f"revision: {REVISION}",
            f'6:13: tokenizer.revision: got "{REVISION}", expected no revision with "modernbert", '
            "which is not on the Hub",
        ),
        (
            "{path: peps/*.json.gz}",
            "{path: a, hub: org/set, files: a}",
            "18:26: sources.peps.from.hub: got path and hub, expected only one of them",
        ),
        (
            "{path: peps/*.json.gz}",
            "{path: a, url: https://host/a}",
            "18:26: sources.peps.from.url: got path and url, expected only one of them",
        ),
        (
            "{path: peps/*.json.gz}",
            "{hub: org/set}",
            "18:11: sources.peps.from.files: got neither files nor split, expected files (a glob), "
            "or split (with config) as named on the data set's card",
        ),
        (
            "{path: peps/*.json.gz}",
            "{hub: org/set, files: a, split: train}",
            "18:33: sources.peps.from.files: got files with config or split, expected files (a "
            "glob), or split (with config) as named on the data set's card",
        ),
        (
            "{path: peps/*.json.gz}",
            "{path: a, revision: main}",
            "18:31: sources.peps.from.revision: got revision without hub, expected it with "
            "hub only",
        ),
        (
            "{path: peps/*.json.gz}",
            "{hub: org, files: a}",
            '18:17: sources.peps.from.hub: got "org", expected a Hub id org/name',
        ),
        (
            "{path: peps/*.json.gz}",
            "{hub: org/set, files: 5}",
            "18:33: sources.peps.from.files: got 5, expected a glob of files; put it in quotes if "
            "it is text",
        ),
        (
            "{path: peps/*.json.gz}",
            f"{{path: a, decode: {{tokenizer: t.json, revision: {REVISION}}}}}",
            f'18:59: sources.peps.from.decode.revision: got "{REVISION}", expected none with '
            '"t.json", a file',
        ),
        (
            "epochs: 3/2",
            "epochs: 3/2\n    max_repetition: 2",
            "20:21: sources.peps.max_repetition: got it without a budget, expected it with "
            "`tokens: 5M` only",
        ),
        (
            "tokens: 837.2B",
            "tokens: 837.2B\n    expected: 5M",
            "26:15: sources.books.expected: got it with a budget, expected it with `tokens: "
            "all` or epochs only",
        ),
        (
            "tokens: 837.2B",
            "tokens: 837b\n    max_repetition: 2",
            f'25:13: sources.books.tokens: got "837b", expected {TOKENS}; did you mean 837B?',
        ),
        (
            "name: modernbert",
            f"name: t.json\n  revision: {REVISION}",
            f'7:13: tokenizer.revision: got "{REVISION}", expected no revision with "t.json", '
            "which is not on the Hub",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused(good: str, bad: str, problem: str) -> None:
    assert problems(changed(good, bad)) == [f"a.yaml:{problem}"]


def test_whole_chunks_take_none_of_the_rules_of_the_published_chunkers() -> None:
    text = changed("algorithm: ettin-reencode-v1", "algorithm: whole-v1")
    text = changed("add_eos: false", "add_eos: true", text)
    reason = "with whole-v1, which has no such rule"
    assert problems(text) == [
        f"a.yaml:11:13: chunk.min_size: got 512, expected none {reason}",
        f"a.yaml:12:15: chunk.skip_below: got 128, expected none {reason}",
        f"a.yaml:13:12: chunk.add_eos: got true, expected false {reason}",
        f"a.yaml:14:9: chunk.seed: got 42, expected none {reason}",
    ]
    assert read(SMALLEST, "chunk.size=1000000", "chunk.add_eos=false").chunk.size == 1_000_000


def test_the_bounds_of_the_published_chunkers_are_reachable() -> None:
    chunk = read(ETTIN, "chunk.size=8999", "chunk.min_size=8997", "chunk.skip_below=0").chunk
    assert (chunk.size, chunk.min_size, chunk.skip_below) == (8999, 8997, 0)
    assert read(ETTIN, "chunk.size=4", "chunk.min_size=0").chunk.min_size == 0


def test_values_made_in_code_keep_the_same_rules() -> None:
    with pytest.raises(ConfigError, match=r"^seed: got 1, expected none with whole-v1"):
        ChunkSpec(size=1024, seed=1)
    with pytest.raises(ConfigError, match=r"^revision: got nothing, expected a commit"):
        TokenizerSpec(name="org/name")
    with pytest.raises(ConfigError, match=r"^epochs: got both tokens and epochs"):
        Source(name="a", origin=Origin(path=("a",)), tokens="all", epochs=Fraction(2))


# What YAML would guess.


@pytest.mark.parametrize(
    "word",
    ["no", "Yes", "on", "1_000", "1e6", "12:30:45", "017", "0x1F", "0o17", "2024-01-01", "="],
)
def test_a_scalar_that_yaml_versions_read_differently_is_refused_as_text(word: str) -> None:
    assert problems(changed("name: ettin", f"name: {word}")) == [
        f"a.yaml:2:7: name: got {word}, {DIFFER}, expected {NAME}; put it in quotes if it is text"
    ]


@pytest.mark.parametrize(
    ("word", "hint"),
    [("1_024", "; did you mean 1024?"), ("1e3", ""), ("17:04", ""), ("02000", "")],
)
def test_a_scalar_that_yaml_versions_read_differently_is_refused_as_a_number(
    word: str, hint: str
) -> None:
    assert problems(changed("size: 1024", f"size: {word}")) == [
        f"a.yaml:10:9: chunk.size: got {word}, {DIFFER}, expected an integer from 4 to "
        f"1,000,000{hint}"
    ]


def test_yes_is_not_true() -> None:
    assert problems(changed("add_eos: false", "add_eos: yes")) == [
        f"a.yaml:13:12: chunk.add_eos: got yes, {DIFFER}, expected true or false"
    ]


def test_in_quotes_every_word_is_text() -> None:
    assert read(changed("name: ettin", 'name: "no"')).name == "no"
    assert read(changed("name: ettin", "name: '2024-01-01'")).name == "2024-01-01"


def test_a_commit_that_looks_like_a_number_needs_quotes() -> None:
    commit = "1234567890123456789012345678901234567e10"
    text = changed("name: modernbert", f"name: org/name\n  revision: {commit}")
    assert problems(text) == [
        f"a.yaml:7:13: tokenizer.revision: got {commit}, {DIFFER}, expected a commit of 40 hex "
        "characters; put it in quotes if it is text"
    ]
    assert read(text.replace(commit, f'"{commit}"')).tokenizer.revision == commit


@pytest.mark.parametrize("word", ["no", "7", "null"])
def test_a_key_that_is_not_text_is_refused(word: str) -> None:
    shown = f"no, {DIFFER}" if word == "no" else word
    assert problems(changed("  peps:", f"  {word}:")) == [
        f"a.yaml:16:3: sources: got the key {shown}, expected text as a key, in quotes"
    ]
    assert read(changed("  peps:", f'  "{word}":')).sources[-1].name in ("books", word)


def test_a_key_given_twice_is_refused() -> None:
    assert problems(changed("  seed: 42", "  seed: 42\n  seed: 42")) == [
        "a.yaml:15:3: chunk.seed: got a key that is already on line 14, expected it once"
    ]


@pytest.mark.parametrize(
    ("value", "tag"), [("!!str x", "!!str"), ("!mine x", "!mine"), ("! x", "!")]
)
def test_a_tag_is_refused(value: str, tag: str) -> None:
    assert problems(changed("phase: checkpoint", f"phase: {value}"))[0] == (
        f"a.yaml:4:8: got the tag {tag}, expected a value without a tag"
    )


def test_a_merge_key_is_refused() -> None:
    text = changed("from: {path: peps/*.json.gz}", "from: {path: a, <<: {id: b}}")
    assert problems(text) == [
        "a.yaml:18:21: sources.peps.from: got a merge key, expected the keys themselves"
    ]


# Files that are no mixtures.


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "1:1: got nothing, expected a mapping with chunk, name, order, sources"),
        (b"# a\n", "1:1: got nothing, expected a mapping with chunk, name, order, sources"),
        (b"null", "1:1: got null, expected a mapping with chunk, name, order, sources"),
        (b"\n- a", "2:1: got a list, expected a mapping with chunk, name, order, sources"),
        (b"a word", '1:1: got "a word", expected a mapping with chunk, name, order, sources'),
        (b"name: a\nx: \xff", "2:4: got the byte 0xff, expected text in UTF-8"),
        (b"name: a\n b: \x00", "2:5: got the character U+0000, expected printable text"),
        (
            b"name: a\nb: c: d",
            "2:5: got text that is not YAML (mapping values are not allowed here), expected YAML",
        ),
        (
            b"name: *a",
            "1:7: got text that is not YAML (found undefined alias 'a'), expected YAML",
        ),
        (
            b"a: 1\n---\nb: 2",
            "2:1: got text that is not YAML (expected a single document in the stream, but found "
            "another document), expected YAML",
        ),
        (b"[" * 3000 + b"]" * 3000, "1:1: got values nested too deeply, expected a mixture"),
    ],
)
def test_what_is_no_mapping_is_one_clear_line(text: bytes, problem: str) -> None:
    assert problems(text) == [f"a.yaml:{problem}"]


def test_a_value_inside_itself_is_refused() -> None:
    text = changed("path: [a/*.json.gz, b/*.json.gz]", "path: &a [*a]")
    assert problems(text)[0] == (
        "a.yaml:23:13: sources.books.from.path[0]: got a value inside itself, expected no cycle"
    )


def test_half_a_surrogate_pair_is_refused() -> None:
    assert problems(changed("In a few words.", '"\\ud800"')) == [
        "a.yaml:3:14: description: got half of a surrogate pair, expected whole characters"
    ]


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "none.yaml"
    with pytest.raises(ConfigError) as caught:
        load_mixture(file)
    assert str(caught.value) == (
        f"{file}: got no file (No such file or directory), expected a mixture file"
    )


# Problems together.


def test_all_problems_are_listed_together_in_the_order_of_the_file() -> None:
    text = changed("size_limit: 100kB", "size_limit: 100 kB")
    text = changed("seed: 21", "sed: 21", text)
    text = changed("min_size: 512", "min_size: 1023", text)
    text = changed("add_eos: false", "add_eos: off", text)
    text = changed("name: ettin", "nam: ettin", text)
    assert problems(text, "order.veiw=decoder", "chunk.seed=x") == [
        f'a.yaml:2:1: nam: got an unknown key, expected one of {TOP_KEYS}; did you mean "name"?',
        f"a.yaml:2:1: name: got nothing, expected {NAME}",
        "a.yaml:11:13: chunk.min_size: got 1023, expected at most size - 2, here 1,022",
        f"a.yaml:13:12: chunk.add_eos: got off, {DIFFER}, expected true or false",
        "a.yaml:27:3: order.seed: got nothing, expected an integer from 0 to 4,294,967,295",
        f"a.yaml:28:3: order.sed: got an unknown key, expected one of {ORDER_KEYS}; "
        'did you mean "seed"?',
        'a.yaml:35:15: shards.size_limit: got "100 kB", expected a size in bytes such as 64MiB, '
        "100kB or 100000; did you mean 100kB?",
        f'--set order.veiw: got an unknown key, expected one of {ORDER_KEYS}; did you mean "view"?',
        '--set chunk.seed: got "x", expected an integer from 0 to 4,294,967,295',
    ]


# Overrides.


def test_an_override_is_the_same_as_writing_it_in_the_file() -> None:
    overridden = read(ETTIN, "order.view=decoder", "chunk.size=2048")
    written = read(changed("size: 1024", "size: 2048", changed("view: encoder", "view: decoder")))
    assert overridden.fingerprint == written.fingerprint
    assert overridden.overrides == ("chunk.size=2048", "order.view=decoder")
    assert (overridden.order, overridden.chunk) == (written.order, written.chunk)


def test_an_override_replaces_a_wrong_value() -> None:
    assert read(changed("size: 1024", "size: many"), "chunk.size=1024") != read(ETTIN)
    assert read(changed("size: 1024", "size: many"), "chunk.size=1024").chunk == read(ETTIN).chunk


def test_an_override_adds_a_key_that_the_file_leaves_out() -> None:
    mixture = read(SMALLEST, "shards.dtype=uint16", "order.epoch=2", "on_error=skip")
    assert (mixture.shards.dtype, mixture.order.epoch, mixture.on_error) == ("uint16", 2, "skip")


def test_what_is_missing_beside_an_override_is_missing_in_the_file() -> None:
    text = changed("order: {seed: 1, global_batch_size: 8, max_seq_len: 1024}\n", "", SMALLEST)
    assert problems(text, "order.seed=1", "order.max_seq_len=8") == [
        "a.yaml:1:1: order.global_batch_size: got nothing, expected an integer from 1 to "
        "2,147,483,647"
    ]


def test_an_override_reaches_a_source_with_dots_in_its_name() -> None:
    text = changed("  books:", "  b.v1:", SMALLEST)
    text = changed("order:", "  b: {from: {path: c}}\norder:", text)
    b, b_v1 = read(text, "sources.b.v1.tokens=5M").sources
    assert (b.tokens, b_v1.tokens) == ("all", 5_000_000)


def test_an_override_may_be_a_list_or_a_mapping() -> None:
    assert read(ETTIN, "sources.books.from.path=[a,b]").sources[0].origin.path == ("a", "b")
    source = read(SMALLEST, "sources={x: {from: {path: a}}}").sources[0]
    assert (source.name, source.origin.path) == ("x", ("a",))


@pytest.mark.parametrize(
    ("given", "recorded"),
    [
        (" order.view = decoder ", "order.view=decoder"),
        ('order.view="decoder"', "order.view=decoder"),
        ("order.view='decoder' # c", "order.view=decoder"),
        ('name="7"', 'name="7"'),
        ('name="no"', 'name="no"'),
        ("sources.books.tokens=5M", "sources.books.tokens=5M"),
        ("sources.books.from.path=a/*.gz", "sources.books.from.path=a/*.gz"),
        ("sources.books.from.path='*.gz'", 'sources.books.from.path="*.gz"'),
        ("sources.books.from.path=[a,b]", 'sources.books.from.path=["a", "b"]'),
        ("sources.books.from.id=~", "sources.books.from.id=~"),
        ("sources.books.from={path: ä b}", 'sources.books.from={"path": "ä b"}'),
        ("chunk.add_eos=true", "chunk.add_eos=true"),
    ],
)
def test_overrides_are_recorded_in_a_form_that_reads_back(given: str, recorded: str) -> None:
    mixture = read(ETTIN, given)
    assert mixture.overrides == (recorded,)
    assert read(ETTIN, recorded) == mixture


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        (
            "order.veiw=decoder",
            f'order.veiw: got an unknown key, expected one of {ORDER_KEYS}; did you mean "view"?',
        ),
        (
            "ordr.view=decoder",
            f'ordr: got an unknown key, expected one of {TOP_KEYS}; did you mean "order"?',
        ),
        (
            "sources.boks.tokens=5M",
            'sources.boks: got an unknown name, expected one of peps, books; did you mean "books"?',
        ),
        (
            "sources.books.tokens=5m",
            f'sources.books.tokens: got "5m", expected {TOKENS}; did you mean 5M?',
        ),
        (
            "order.view=no",
            f"order.view: got no, {DIFFER}, expected one of stored, encoder, decoder",
        ),
        ("chunk.size=", "chunk.size: got nothing, expected an integer from 4 to 1,000,000"),
        (
            "chunk.size=9000",
            "chunk.size: got 9000, expected at most 8,999 with ettin-reencode-v1: "
            "token_decile.json has no key above 8k",
        ),
        (
            "sources.books.from={pth: a, path: b}",
            f"sources.books.from.pth: got an unknown key, expected one of {ORIGIN_KEYS}; did you "
            'mean "path"?',
        ),
        ("name.x=1", 'name.x: got a key inside "ettin", expected a key inside a mapping'),
        ("order.view", 'order.view: got "order.view", expected key=value with a dotted key'),
        ("=1", '"=1": got "=1", expected key=value with a dotted key'),
        ("order..view=1", 'order..view: got "order..view=1", expected key=value with a dotted key'),
        (
            "order.view=\udcff",
            'order.view: got "order.view=?", where ? is not UTF-8, expected text in UTF-8',
        ),
        (
            "order.view={a",
            "order.view: got text that is not YAML (while parsing a flow mapping, expected ',' or "
            "'}', but got '<stream end>'), expected YAML",
        ),
    ],
)
def test_a_wrong_override_is_refused_by_its_own_name(override: str, problem: str) -> None:
    assert problems(ETTIN, override) == [f"--set {problem}"]


@pytest.mark.parametrize("second", ["order.view=decoder", "order={seed: 1}", "order.view.x=1"])
def test_an_override_given_twice_is_refused(second: str) -> None:
    assert problems(ETTIN, "order.view=stored", second) == [
        f"--set {second.partition('=')[0]}: got a key that is set twice, expected each key once"
    ]


# The golden mixtures.


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden mixtures lie beside the repository")
def test_the_golden_mixtures_load_as_they_stand() -> None:
    files = sorted(GOLDEN.glob("*/mixture.yaml"))
    assert len(files) == 5
    for file in files:
        mixture = load_mixture(file, ["order.view=decoder"])
        assert mixture.name == f"golden-{file.parent.name}"
        assert (mixture.folder, mixture.order.view) == (file.parent, "decoder")
        assert all(source.tokens == "all" for source in mixture.sources)
