"""A recipe is read strictly, all problems are reported, its fingerprint is what is learned."""

import json
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]
from jsonschema import Draft202012Validator  # type: ignore[import-untyped,unused-ignore]
from support.paths import REPOSITORY

from pipeline.cli.main import main
from pipeline.config import recipe_schema
from pipeline.config.load import load_recipe
from pipeline.config.recipe import Recipe
from pipeline.core.errors import ConfigError

SMALLEST = """\
name: smallest
phase: pretraining
start: fresh
model:
  kind: decoder
  num_layers: 7
  hidden_size: 64
  intermediate_size: 96
  num_heads: 4
  max_positions: 1024
  global_theta: 10000
  local_theta: 10000
tokens: 60k
global_batch_rows: 16
micro_batch_rows: 16
max_seq_len: 1024
optimizer: {peak_rate: 0.0008, weight_decay: 0}
learning_rate: {shape: warmup-stable-decay, start: 1, end: 1}
seed: 21
save_every_tokens: 20k
"""

# Every value a few tests replace is there once.
FULLEST = """\
name: fullest
description: |
  Every key,
  in two lines.
assumptions: [One thing., Another.]
phase: cross
start: weights
model:
  kind: encoder
  num_layers: 10
  hidden_size: 384
  intermediate_size: 576
  num_heads: 6
  max_positions: 8192
  global_theta: 160000
  local_theta: 10000
  local_window: 64
  global_every: 3
  dropout: 0.0
  vocab_size: 50000
objective: {mask_prob: 3/10, evaluation_mask_prob: 0.15}
tokens: 50B
global_batch_rows: 4608
micro_batch_rows: 12
max_seq_len: 7999
optimizer: {peak_rate: 0.0015, weight_decay: 0.0003, beta1: 0.91, beta2: 0.985, epsilon: 0.00001}
learning_rate:
  shape: one-minus-sqrt
  start: 0.5
  end: 0.02
  warmup_tokens: 3B
  decay_tokens: 10B
seed: 210
save_every_tokens: 8.5B
evaluate_every_tokens: 1B
precision: fp32
compile: false
"""

# Each replaces a piece of FULLEST by something that neither the schema nor loading accepts.
REFUSED = [
    ("name: fullest", "nmae: fullest"),
    ("phase: cross", "phase: pretrain"),
    ("start: weights", "start: weight"),
    ("  kind: encoder\n", ""),
    ("num_layers: 10", "num_layers: ten"),
    ("num_heads: 6", "num_head: 6"),
    ("global_theta: 160000", "global_theta: 0"),
    ("dropout: 0.0", "dropout: 1"),
    ("mask_prob: 3/10", "mask_prob: 0"),
    ("mask_prob: 3/10", "mask_prob: 1.5"),
    ("tokens: 50B", "tokens: 0"),
    ("tokens: 50B", "tokens: 50b"),
    ("peak_rate: 0.0015", "peak_rate: 0"),
    ("peak_rate: 0.0015", "peak_rate: 15e-4"),
    ("peak_rate: 0.0015", "peak_rate: -0.1"),
    ("weight_decay: 0.0003", "weight_decay: 1"),
    ("beta2: 0.985", "beta2: 1"),
    ("shape: one-minus-sqrt", "shape: one_minus_sqrt"),
    ("  start: 0.5", "  start: 0"),
    ("end: 0.02", "end: 2"),
    ("warmup_tokens: 3B", "warmup_tokens: -1"),
    ("decay_tokens: 10B", "decay_tokens: all"),
    ("seed: 210", "seed: -1"),
    ("precision: fp32", "precision: fp16"),
    ("compile: false", 'compile: "no"'),
    ("compile: false", "extends: []"),
]


def write(folder: Path, **texts: str) -> Path:
    """Write files by stem, and return the path of the first."""
    paths = [folder / f"{stem}.yaml" for stem in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text)
    return paths[0]


def recipe(folder: Path, text: str, *overrides: str) -> Recipe:
    return load_recipe(write(folder, r=text), overrides)


def problems(folder: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        recipe(folder, text, *overrides)
    return str(caught.value).replace(f"{folder}/", "").split("\n")


def changed(text: str, good: str, bad: str) -> str:
    assert text.count(good) == 1, good
    return text.replace(good, bad)


# What is read.


def test_numbers_are_exactly_what_is_written(tmp_path: Path) -> None:
    read = recipe(tmp_path, FULLEST)
    assert read.optimizer.peak_rate == Fraction(15, 10_000)
    assert read.optimizer.beta2 == Fraction(985, 1000)
    assert read.objective.mask_prob == Fraction(3, 10)
    assert (read.learning_rate.start, read.learning_rate.end) == (Fraction(1, 2), Fraction(1, 50))
    assert (read.tokens, read.save_every_tokens) == (50 * 10**9, 8_500_000_000)
    assert (read.model.local_window, read.model.vocab_size) == (64, 50_000)
    assert read.model.dropout == 0
    assert [one.says for one in read.assumptions] == ["One thing.", "Another."]


def test_what_is_not_written_has_the_suites_values(tmp_path: Path) -> None:
    read = recipe(tmp_path, SMALLEST)
    model, optimizer, rate = read.model, read.optimizer, read.learning_rate
    assert (model.vocab_size, model.local_window, model.global_every) == (50_368, 128, 3)
    assert model.dropout == Fraction(1, 10)
    assert optimizer.weight_decay == 0
    assert (optimizer.beta1, optimizer.beta2) == (Fraction(9, 10), Fraction(98, 100))
    assert optimizer.epsilon == Fraction(1, 1_000_000)
    assert (rate.warmup_tokens, rate.decay_tokens) == (0, 0)
    assert (read.objective.mask_prob, read.evaluate_every_tokens) == (None, None)
    assert (read.precision, read.compile) == ("bf16", True)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("8e-4", "0.0008"), ("8.0e-4", "0.00080"), ("1e-6", "0.000001"), ("5E-1", "0.5")],
)
def test_a_number_with_an_exponent_is_told_without_one(
    tmp_path: Path, written: str, meant: str
) -> None:
    (told,) = problems(tmp_path, changed(SMALLEST, "0.0008", written))
    assert told.startswith("r.yaml:17:24: optimizer.peak_rate: got ")
    assert told.endswith(
        f"expected a number above 0 and at most 1 such as 0.001 or 1/1000; did you mean {meant}?"
    )
    assert recipe(tmp_path, changed(SMALLEST, "0.0008", meant)).optimizer.peak_rate == Fraction(
        written
    )


def test_an_exponent_that_cannot_be_meant_suggests_nothing(tmp_path: Path) -> None:
    for written in ("8e4", "80e-1", "1e-1000000", "e-4", "8e-4/2"):
        (told,) = problems(tmp_path, changed(SMALLEST, "0.0008", written))
        assert "did you mean" not in told


def test_all_problems_are_told_at_once_with_their_places(tmp_path: Path) -> None:
    text = changed(SMALLEST, "phase: pretraining", "phase: pretrainig")
    text = changed(text, "num_heads: 4", "num_haeds: 4")
    text = changed(text, "seed: 21\n", "")
    assert problems(tmp_path, text, "tokens=6o", "optimizer.peak=1") == [
        "r.yaml:1:1: seed: got nothing, expected an integer from 0 to 4,294,967,295",
        'r.yaml:2:8: phase: got "pretrainig", expected one of pretraining, extension, decay, '
        'cross; did you mean "pretraining"?',
        "r.yaml:5:3: model.num_heads: got nothing, expected an integer from 1 to 4,096",
        "r.yaml:9:3: model.num_haeds: got an unknown key, expected one of dropout, global_every, "
        "global_theta, hidden_size, intermediate_size, kind, local_theta, local_window, "
        'max_positions, num_heads, num_layers, vocab_size; did you mean "num_heads"?',
        '--set tokens: got "6o", expected a token amount such as 837.2B, 5M, 64k or 12000',
        "--set optimizer.peak: got an unknown key, expected one of beta1, beta2, epsilon, "
        'peak_rate, weight_decay; did you mean "peak_rate"?',
    ]


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: got no file .*, expected a recipe file"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="got neither a file nor one of the shipped recipes: "):
        load_recipe("ettin-18m-encoder-decay")


# What contradicts itself.


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        (
            "num_layers: 10",
            "num_layers: 12",
            "10:15: model.num_layers: got 12, expected 1 more than a multiple of global_every, "
            "here 3",
        ),
        (
            "hidden_size: 384",
            "hidden_size: 390",
            "11:16: model.hidden_size: got 390, expected a multiple of twice num_heads, here 12",
        ),
        (
            "local_window: 64",
            "local_window: 65",
            "17:17: model.local_window: got 65, expected an even number: half of it to each side",
        ),
        (
            "max_positions: 8192",
            "max_positions: 7998",
            "25:14: max_seq_len: got 7,999, expected at most model.max_positions, here 7,998",
        ),
        (
            "kind: encoder",
            "kind: decoder",
            "21:12: objective: got mask_prob 3/10, expected none for a decoder, which masks "
            "nothing\nr.yaml:21:12: objective: got evaluation_mask_prob 3/20, expected none for a "
            "decoder, which masks nothing",
        ),
        (
            "{mask_prob: 3/10, ",
            "{",
            "21:12: objective: got no mask_prob, expected one for an encoder, such as 0.3",
        ),
        (
            ", evaluation_mask_prob: 0.15",
            "",
            "21:12: objective: got no evaluation_mask_prob, expected one for an encoder that is "
            "evaluated, such as 0.15",
        ),
        (
            "decay_tokens: 10B",
            "decay_tokens: 47000000001",
            "28:3: learning_rate: got 3,000,000,000 tokens of warm-up and 47,000,000,001 of decay, "
            "expected at most the 50,000,000,000 of the phase together",
        ),
        (
            "decay_tokens: 10B",
            "decay_tokens: 0",
            "30:8: learning_rate.end: got 1/50, expected start, here 1/2, as decay_tokens is 0",
        ),
        (
            "micro_batch_rows: 12",
            "micro_batch_rows: 4609",
            "24:19: micro_batch_rows: got 4,609, expected at most global_batch_rows, here 4,608",
        ),
        (
            "start: weights",
            "start: continue",
            '7:8: start: got "continue", expected weights in phase cross: those of a model of the '
            "other kind",
        ),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, good: str, bad: str, told: str) -> None:
    assert problems(tmp_path, changed(FULLEST, good, bad)) == f"r.yaml:{told}".split("\n")


def test_a_recipe_built_in_code_is_checked_too(tmp_path: Path) -> None:
    read = recipe(tmp_path, FULLEST)
    with pytest.raises(ConfigError, match="max_seq_len: got 8,193, expected at most model"):
        replace(read, max_seq_len=8193)
    with pytest.raises(ConfigError, match="num_layers: got 9, expected 1 more than a multiple"):
        replace(read.model, num_layers=9)


# Several files.


def test_later_files_lie_over_earlier_ones_and_the_file_over_all(tmp_path: Path) -> None:
    write(tmp_path, one="seed: 1\ntokens: 1M\nmodel: {num_heads: 1, kind: decoder}\n")
    write(tmp_path, two="extends: three.yaml\ntokens: 2M\nmodel: {num_heads: 2}\n")
    write(tmp_path, three="seed: 3\nmax_seq_len: 300\n")
    rest = changed(SMALLEST, "seed: 21\n", "")
    rest = changed(rest, "tokens: 60k\n", "")
    rest = changed(rest, "max_seq_len: 1024\n", "")
    rest = changed(changed(rest, "  kind: decoder\n", ""), "  num_heads: 4\n", "")
    read = recipe(tmp_path, rest + "extends: [one.yaml, two.yaml]\n")
    assert (read.seed, read.tokens, read.max_seq_len, read.model.num_heads) == (
        3,
        2_000_000,
        300,
        2,
    )
    turned = recipe(tmp_path, rest + "extends: [two.yaml, one.yaml]\n")
    assert (turned.seed, turned.tokens, turned.model.num_heads) == (1, 1_000_000, 1)
    own = recipe(tmp_path, rest + "extends: [one.yaml, two.yaml]\ntokens: 4M\n", "seed=5")
    assert (own.seed, own.tokens) == (5, 4_000_000)


def test_a_fault_is_told_where_it_was_written(tmp_path: Path) -> None:
    write(tmp_path, good="seed: 1\n", bad="seed: 1\nmodel:\n  num_heads: four\n")
    text = changed(SMALLEST, "  num_heads: 4\n", "")
    assert problems(tmp_path, text + "extends: [bad.yaml, good.yaml]\n") == [
        'bad.yaml:3:14: model.num_heads: got "four", expected an integer from 1 to 4,096'
    ]
    assert problems(tmp_path, SMALLEST + "extends: [none.yaml, 5, r.yaml]\n") == [
        "r.yaml:21:22: extends[1]: got 5, expected the path of another YAML file, relative to "
        "this one; put it in quotes if it is text"
    ]
    assert problems(tmp_path, SMALLEST + "extends: [none.yaml, r.yaml]\n") == [
        'r.yaml:21:11: extends[0]: got "none.yaml" (No such file or directory), expected the path '
        "of another YAML file, relative to this one",
        'r.yaml:21:22: extends[1]: got "r.yaml", which extends itself, expected no cycle',
    ]


# The fingerprint.


def test_the_fingerprint_is_of_what_is_learned(tmp_path: Path) -> None:
    read = recipe(tmp_path, FULLEST)
    assert json.loads(json.dumps(read.declaration())) == read.declaration()
    for other in (
        changed(FULLEST, "0.0015", "3/2000"),
        changed(FULLEST, "50B", "50000000000"),
        changed(FULLEST, "micro_batch_rows: 12", "micro_batch_rows: 24"),
        changed(FULLEST, "8.5B", "1B"),
        changed(FULLEST, "evaluate_every_tokens: 1B\n", ""),
        changed(FULLEST, "compile: false", "compile: true"),
        changed(FULLEST, "[One thing., Another.]", "None."),
        FULLEST + "# A comment.\n",
    ):
        assert recipe(tmp_path, other).fingerprint == read.fingerprint
    for good, bad in (
        ("local_theta: 10000", "local_theta: 10001"),
        ("0.0015", "0.0016"),
        ("3/10", "0.31"),
        ("precision: fp32", "precision: bf16"),
        ("decay_tokens: 10B", "decay_tokens: 11B"),
        ("seed: 210", "seed: 21"),
        ("max_seq_len: 7999", "max_seq_len: 7998"),
    ):
        assert recipe(tmp_path, changed(FULLEST, good, bad)).fingerprint != read.fingerprint


def test_an_override_is_recorded_and_counts_as_if_it_were_written(tmp_path: Path) -> None:
    written = recipe(tmp_path, changed(FULLEST, "seed: 210", "seed: 7"))
    given = recipe(tmp_path, FULLEST, "seed=7", "optimizer.peak_rate=0.0015")
    assert given.overrides == ("optimizer.peak_rate=0.0015", "seed=7")
    assert given.fingerprint == written.fingerprint
    assert replace(given, overrides=()) == written


# The schema.


def is_valid(text: str) -> bool:
    return bool(Draft202012Validator(recipe_schema()).is_valid(yaml.safe_load(text)))


def properties(part: dict[str, Any], where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, child in part.get("properties", {}).items():
        yield f"{where}.{name}", child
        yield from properties(child, f"{where}.{name}")


def keys_of(value: Any, where: str = "") -> Iterator[str]:
    for name, child in value.items() if isinstance(value, dict) else ():
        yield f"{where}.{name}"
        yield from keys_of(child, f"{where}.{name}")


@pytest.mark.parametrize("text", [SMALLEST, FULLEST])
def test_good_recipes_pass_both_the_schema_and_loading(tmp_path: Path, text: str) -> None:
    assert is_valid(text)
    recipe(tmp_path, text)


@pytest.mark.parametrize(("good", "bad"), REFUSED)
def test_bad_recipes_pass_neither_the_schema_nor_loading(
    tmp_path: Path, good: str, bad: str
) -> None:
    text = changed(FULLEST, good, bad)
    assert not is_valid(text)
    problems(tmp_path, text)


def test_the_schema_describes_every_key_in_a_sentence() -> None:
    Draft202012Validator.check_schema(recipe_schema())
    found = dict(properties(recipe_schema()))
    assert set(found) - set(keys_of(yaml.safe_load(FULLEST))) == {".extends"}
    assert all(child["description"].endswith(".") for child in found.values())
    assert all(
        child["additionalProperties"] is False
        for child in found.values()
        if child.get("type") == "object"
    )


def test_a_file_that_extends_another_need_not_say_what_that_says() -> None:
    assert is_valid("extends: base.yaml")
    assert is_valid("extends: [a.yaml, parts/b.yml]\nmodel: {num_heads: 2}")
    assert not is_valid("extends: [a.yaml, /b.yaml]")
    assert not is_valid("extends: a.yaml\nmodel: {num_head: 2}")


def test_the_tool_prints_the_schema_of_either_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "recipe"]) == 0
    assert json.loads(capsys.readouterr().out) == recipe_schema()
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$id"] == "mixture.schema.json"


# The page about recipes.


def test_the_recipe_in_the_docs_is_one(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "guide" / "recipes.md").read_text()
    shown = [block for block in page.split("```yaml\n")[1:] if block.startswith("name: ")]
    assert len(shown) == 1
    assert recipe(tmp_path, shown[0].partition("```")[0]).name == "mine"
    for name in keys_of(yaml.safe_load(FULLEST)):
        top = name.split(".")[1]
        assert f"`{top}`" in page or top in ("name", "max_seq_len", "seed"), top
