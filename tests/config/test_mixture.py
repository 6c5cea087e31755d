"""A mixture is read strictly, and its fingerprint is its meaning."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]
from hypothesis import given, settings
from hypothesis import strategies as st
from support.mixtures import ETTIN, REVISION, SMALLEST, TOKENS, changed, problems, read
from support.paths import SHARED

from pipeline.config.declaration import OrderSpec, ShardSpec, TokenizerSpec
from pipeline.config.load import load_mixture
from pipeline.config.mixture import ChunkSpec, Mixture
from pipeline.config.settings import setting, to_plain
from pipeline.config.settings import settings as make_settings
from pipeline.config.source import Origin, Source
from pipeline.core.errors import ConfigError

GOLDEN = SHARED / "golden"


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


def test_a_key_that_was_added_later_is_declared_only_where_it_says_something_new() -> None:
    @make_settings
    class Grown:
        old: bool = setting("One of the first keys.", default=False)
        new: bool = setting("Added later.", default=False, omits_default=True)

    assert to_plain(Grown()) == {"old": False}
    assert to_plain(Grown(new=True)) == {"old": False, "new": True}


def test_what_changes_no_bytes_does_not_change_the_fingerprint() -> None:
    fingerprint = read(ETTIN).fingerprint
    assert read(ETTIN.replace("# A comment.", "")).fingerprint == fingerprint
    assert read(changed("In a few words.", "In others.")).fingerprint == fingerprint
    assert read(ETTIN + "assumptions: [One., {says: Two.}]\n").fingerprint == fingerprint
    assert read(ETTIN, "sources.books.licence=MIT").fingerprint == fingerprint
    assert read(ETTIN + "scale: 1.0\n").fingerprint == fingerprint
    assert read(ETTIN + "dedup: null\nvalidation: null\n").fingerprint == fingerprint
    assert read(ETTIN, path="elsewhere/b.yaml").fingerprint == fingerprint
    assert read(changed("837.2B", "837200000000")).fingerprint == fingerprint
    assert read(changed("100kB", '"100000"')).fingerprint == fingerprint
    assert read(changed("3/2", "1.50")).fingerprint == fingerprint
    assert read(changed("phase: checkpoint\n", "")).fingerprint == fingerprint
    assert read(ETTIN + "on_error: stop\n").fingerprint == fingerprint
    limits = "max_bad: 1/50\nmax_document_bytes: 256MiB\n"
    assert read(ETTIN + limits).fingerprint == fingerprint
    assert read(ETTIN, "sources.books.from.files_per_partition=1").fingerprint == fingerprint
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
    "sources.books.from={path: [a/*.json.gz, b/*.json.gz], id: null, files_per_partition: 2}",
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
    "sample.algorithm=ettin-longest-first-v1",
    "sources.books.sample={}",
    "sources.books.sample={seed: 1}",
    "sources.books.sample={algorithm: ettin-longest-first-v1}",
    "sources.books.sample={algorithm: ettin-longest-first-v1, first: a}",
    "sources.books.sample={algorithm: ettin-longest-first-v1, first: [a, b]}",
    "sources.books.sample={algorithm: ettin-longest-first-v1, first: [b, a]}",
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
    "shards={dtype: uint16, size_limit: 100000, header_compression: zstd}",
    "shards={size_limit: 100000, header_compression: zstd, index_compression: zstd}",
    "on_error=skip",
    "max_document_bytes=1MiB",
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


@settings(derandomize=True, max_examples=25, deadline=None)
@given(st.data())
def test_key_order_in_the_file_does_not_change_the_fingerprint(data: st.DataObject) -> None:
    tree = shuffled(yaml.safe_load(ETTIN), lambda names: data.draw(st.permutations(names)))
    assert read(json.dumps(tree)) == read(ETTIN)
    assert read(json.dumps(tree)).fingerprint == read(ETTIN).fingerprint


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
            "or split (with config) as its card names them",
        ),
        (
            "{path: peps/*.json.gz}",
            "{hub: org/set, files: a, split: train}",
            "18:33: sources.peps.from.files: got files with config or split, expected files (a "
            "glob), or split (with config) as its card names them",
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
            "{path: peps/*.json.gz}",
            "{path: a, files_per_partition: 2}\n"
            "    sample: {algorithm: ettin-longest-first-v1, first: a}",
            "19:13: sources.peps.sample: got first, expected it with one file in a partition only",
        ),
        (
            "tokens: 837.2B",
            "tokens: 837.2B\n    sample: {first: [books_0001]}",
            "26:21: sources.books.sample.first: got books_0001, expected it with "
            "ettin-longest-first-v1 only, here or as sample.algorithm",
        ),
        (
            "tokens: 837.2B",
            "tokens: 837.2B\n    sample: {algorithm: ettin-longest-first-v1, first: [a, b, a]}",
            "26:56: sources.books.sample.first: got a, b, a, expected each partition once",
        ),
        (
            "  dtype: uint16\n",
            "  dtype: uint16\n  index_compression: zstd\n",
            "35:22: shards.index_compression: got zstd, expected it with header_compression: zstd "
            "only",
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
