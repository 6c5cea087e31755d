"""The recipes that ship are the published configs, and train what their names say."""

import json
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]
from jsonschema import Draft202012Validator  # type: ignore[import-untyped,unused-ignore]
from support.paths import REPOSITORY

from pipeline.config import recipe_schema
from pipeline.config.learning_rate import learning_rate
from pipeline.config.load import load_mixture, load_recipe
from pipeline.config.recipe import ModelSpec, Recipe
from pipeline.core.bundled import mixture_path

RECIPES = REPOSITORY / "recipes"
FILES = sorted(RECIPES.glob("*.yaml"))
KINDS = ("encoder", "decoder")
PHASES = ("pretraining", "extension", "decay", "cross")
B = 10**9

# Layers, hidden and intermediate size, heads; peak rate, weight decay; tokens of warm-up in
# billions; rows of a micro-batch in each phase.
# Source: JHU-CLSP/ettin-encoder-vs-decoder, `pretraining/configs`, 48 files.
SHAPES = """
17m  |  7 |  256 |  384 |  4 | 3e-3 | 3e-4 | 4 | 144 24 12 12
32m  | 10 |  384 |  576 |  6 | 3e-3 | 3e-4 | 4 | 128 24 12 12
68m  | 19 |  512 |  768 |  8 | 3e-3 | 3e-4 | 3 |  96 18  8  8
150m | 22 |  768 | 1152 | 12 | 8e-4 | 1e-5 | 3 |  72 16 12 12
400m | 28 | 1024 | 2624 | 16 | 5e-4 | 1e-5 | 2 |  48  6  2  4
1b   | 28 | 1792 | 3840 | 28 | 5e-4 | 5e-5 | 2 |  24  2  2  2
"""

# Of each phase: longest row, mask probabilities of encoders in training and evaluation, tokens,
# tokens of 1B, those between two checkpoints, of 1B, seed, what it begins with.
# Source: as above.
PUBLISHED = """
pretraining | 1024 | 0.30 | 0.15 | 1_700_000_000_000 | 1_700_000_000_000 |  8_500_000_000 | 8_500_000_000 |  21 | fresh
extension   | 7999 | 0.30 | 0.15 |   250_000_000_000 |    83_333_000_000 |  8_500_000_000 | 8_500_000_000 |  21 | continue
decay       | 7999 | 0.15 | 0.15 |    50_000_000_000 |    16_666_666_667 |  8_500_000_000 | 8_500_000_000 |  21 | continue
cross       | 7999 | 0.15 |    - |    50_000_000_000 |    16_666_666_667 | 10_000_000_000 | 3_333_333_333 | 210 | weights
"""  # noqa: E501

# Parameters of each size, all of them and those of the embedding, which the output shares.
# Source: the two model classes of transformers, built from the published configs.
PARAMETERS = {
    "17m": (16_913_600, 12_894_208),
    "32m": (32_081_344, 19_341_312),
    "68m": (68_457_664, 25_788_416),
    "150m": (149_655_232, 38_682_624),
    "400m": (395_881_664, 51_576_832),
    "1b": (1_031_314_112, 90_259_456),
}


class Size(NamedTuple):
    """A size as published."""

    shape: tuple[int, int, int, int]
    peak: Fraction
    weight_decay: Fraction
    warmup_tokens: int
    micro_batch_rows: dict[str, int]


class Phase(NamedTuple):
    """A phase as published."""

    max_seq_len: int
    mask_prob: Fraction
    evaluation_mask_prob: Fraction | None
    tokens: int
    save_every_tokens: int
    seed: int
    start: str


def rows(table: str) -> Iterator[list[str]]:
    for line in table.strip().split("\n"):
        yield [cell.strip() for cell in line.split("|")]


def read_sizes() -> dict[str, Size]:
    sizes = {}
    for name, layers, hidden, intermediate, heads, peak, decay, warmup, micro in rows(SHAPES):
        sizes[name] = Size(
            (int(layers), int(hidden), int(intermediate), int(heads)),
            Fraction(peak),
            Fraction(decay),
            int(warmup) * B,
            dict(zip(PHASES, map(int, micro.split()), strict=True)),
        )
    return sizes


def read_phases(size: str) -> dict[str, Phase]:
    phases = {}
    for name, length, mask, evaluation, tokens, tokens_1b, save, save_1b, seed, start in rows(
        PUBLISHED
    ):
        phases[name] = Phase(
            int(length),
            Fraction(mask),
            None if evaluation == "-" else Fraction(evaluation),
            int(tokens_1b if size == "1b" else tokens),
            int(save_1b if size == "1b" else save),
            int(seed),
            start,
        )
    return phases


SIZES = read_sizes()


def thetas(size: str, kind: str, phase: str) -> tuple[int, int]:
    """Return the published bases of rotary positions, in global and in local layers."""
    if phase == "pretraining":
        return 10_000, 10_000
    if phase == "extension" and size == "17m":
        return 160_000, 10_000
    if phase == "decay" and kind == "decoder" and size in ("17m", "32m", "68m", "400m"):
        return 160_000, 10_000
    return 160_000, 160_000


@cache
def shipped(size: str, kind: str, phase: str) -> Recipe:
    return load_recipe(f"ettin-{size}-{kind}-{phase}")


EACH = [(size, kind, phase) for size in SIZES for kind in KINDS for phase in PHASES]
each = pytest.mark.parametrize(("size", "kind", "phase"), EACH)


def test_every_size_kind_and_phase_ships_and_nothing_else_but_the_miniatures() -> None:
    names = {f"ettin-{size}-{kind}-{phase}" for size, kind, phase in EACH}
    assert len(names) == 48
    names |= {f"sample-{kind}-{phase}" for kind in KINDS for phase in PHASES}
    assert {path.stem for path in FILES} == names
    for path in FILES:
        assert load_recipe(path).name == path.stem


@each
def test_the_model_is_the_published_one(size: str, kind: str, phase: str) -> None:
    model = shipped(size, kind, phase).model
    assert model == ModelSpec(
        kind="encoder" if kind == "encoder" else "decoder",
        num_layers=SIZES[size].shape[0],
        hidden_size=SIZES[size].shape[1],
        intermediate_size=SIZES[size].shape[2],
        num_heads=SIZES[size].shape[3],
        max_positions=8192,
        global_theta=thetas(size, kind, phase)[0],
        local_theta=thetas(size, kind, phase)[1],
        local_window=128,
        global_every=3,
        dropout=Fraction(1, 10),
        vocab_size=50_368,
    )
    assert model.hidden_size == 64 * model.num_heads


@each
def test_data_and_clock_are_the_published_ones(size: str, kind: str, phase: str) -> None:
    recipe, published = shipped(size, kind, phase), read_phases(size)[phase]
    assert (recipe.phase, recipe.start, recipe.seed) == (phase, published.start, published.seed)
    assert (recipe.tokens, recipe.max_seq_len) == (published.tokens, published.max_seq_len)
    assert recipe.global_batch_rows == 4608
    assert recipe.micro_batch_rows == SIZES[size].micro_batch_rows[phase]
    assert recipe.save_every_tokens == published.save_every_tokens
    assert recipe.evaluate_every_tokens is None
    assert (recipe.precision, recipe.compile) == ("bf16", True)
    masks = (recipe.objective.mask_prob, recipe.objective.evaluation_mask_prob)
    if kind == "encoder":
        assert masks == (published.mask_prob, published.evaluation_mask_prob)
    else:
        assert masks == (None, None)


@each
def test_the_optimizer_is_the_published_one(size: str, kind: str, phase: str) -> None:
    optimizer = shipped(size, kind, phase).optimizer
    assert optimizer.weight_decay == SIZES[size].weight_decay
    assert (optimizer.beta1, optimizer.beta2) == (Fraction("0.9"), Fraction("0.98"))
    assert optimizer.epsilon == Fraction("1e-6")
    # The optimizer of a cross-objective run is made anew, at half of the rate.
    peak = SIZES[size].peak
    assert optimizer.peak_rate == (peak / 2 if phase == "cross" else peak)


# Tokens and, in multiples of pre-training's peak, the rate, at every corner and halfway.
# Source: as above, and the notes beside the configs: half of the peak, then a fiftieth.
CORNERS = {
    "pretraining": [("0", "0"), ("warmup/2", "1/2"), ("warmup", "1"), ("all", "1")],
    "extension": [("0", "1"), ("all/4", "3/4"), ("all", "1/2")],
    "decay": [("0", "1/2"), ("all/4", "26/100"), ("all", "2/100")],
    "cross": [("0", "0"), ("warmup", "1/2"), ("all-fall", "1/2"), ("all", "1/100")],
}


@each
def test_the_rate_is_the_published_one(size: str, kind: str, phase: str) -> None:
    recipe = shipped(size, kind, phase)
    warmup = {"pretraining": SIZES[size].warmup_tokens, "cross": B if size == "1b" else 3 * B}
    spans: dict[str, Fraction | int] = {
        "0": 0,
        "warmup": warmup.get(phase, 0),
        "warmup/2": warmup.get(phase, 0) // 2,
        "all": recipe.tokens,
        "all/4": Fraction(recipe.tokens, 4),
        "all-fall": recipe.tokens - (3_333_000_000 if size == "1b" else 10 * B),
    }
    for when, multiple in CORNERS[phase]:
        seen, expected = spans[when], float(SIZES[size].peak * Fraction(multiple))
        rate = learning_rate(
            recipe.learning_rate, recipe.optimizer.peak_rate, int(seen), recipe.tokens
        )
        if seen == int(seen):
            assert rate == expected
        else:
            assert rate == pytest.approx(expected, rel=1e-9)
    assert recipe.learning_rate.warmup_tokens == warmup.get(phase, 0)
    falls = {"extension": recipe.tokens, "decay": recipe.tokens}
    falls["cross"] = recipe.tokens - int(spans["all-fall"])
    assert recipe.learning_rate.decay_tokens == falls.get(phase, 0)


@pytest.mark.parametrize("size", SIZES)
def test_the_two_of_a_pair_differ_in_kind_masks_and_one_theta(size: str) -> None:
    for phase in PHASES:
        encoder, decoder = shipped(size, "encoder", phase), shipped(size, "decoder", phase)
        differ = {
            name
            for name, value in encoder.declaration().items()
            if decoder.declaration()[name] != value
        }
        assert differ == {"name", "model", "objective"}
        models = encoder.declaration()["model"], decoder.declaration()["model"]
        differ = {name for name, value in models[0].items() if models[1][name] != value}
        assert {"kind"} <= differ <= {"kind", "local_theta"}


def num_parameters(model: ModelSpec) -> tuple[int, int]:
    """Return how many parameters a model has, and how many of them are its embedding's."""
    hidden = model.hidden_size
    embedding = model.vocab_size * hidden
    attention = 4 * hidden * hidden
    mlp = 3 * hidden * model.intermediate_size
    # Two norms a layer, of which the first layer lacks one; one after the embedding, one at the
    # end; the head is a square and a norm; and there is a bias for each id.
    norms = (2 * model.num_layers - 1 + 2) * hidden
    head = hidden * hidden + hidden
    layers = model.num_layers * (attention + mlp)
    return embedding + layers + norms + head + model.vocab_size, embedding


@each
def test_models_have_as_many_parameters_as_their_names_say(
    size: str, kind: str, phase: str
) -> None:
    assert num_parameters(shipped(size, kind, phase).model) == PARAMETERS[size]


# The files.


def test_the_shipped_schema_is_the_one_that_the_tool_prints() -> None:
    assert json.loads((RECIPES / "recipe.schema.json").read_text()) == recipe_schema()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_names_the_schema_beside_it_and_passes_it(path: Path) -> None:
    text = path.read_text()
    assert text.splitlines()[0] == "# yaml-language-server: $schema=recipe.schema.json"
    validator = Draft202012Validator(recipe_schema())
    assert validator.is_valid(yaml.safe_load(text))
    recipe = load_recipe(path)
    assert recipe.description
    assert recipe.assumptions


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_says_only_what_differs(path: Path) -> None:
    """Every line of a recipe changes it: without the line it is another, or none."""
    tree = yaml.safe_load(path.read_text())
    below = RECIPES / tree["extends"][0]
    assert below.is_file()
    parts: dict[str, object] = {}
    for name in tree["extends"]:
        merge(parts, yaml.safe_load((RECIPES / name).read_text()))
    for name, value in tree.items():
        said = parts.get(name)
        if isinstance(value, dict):
            assert isinstance(said, dict)
            assert not value.items() & said.items()
        else:
            assert value != said, name


def merge(into: dict[str, object], above: dict[str, object]) -> None:
    for name, value in above.items():
        inner = into.get(name)
        if isinstance(value, dict) and isinstance(inner, dict):
            merge(inner, value)
        else:
            into[name] = value


@pytest.mark.parametrize("kind", KINDS)
def test_the_miniatures_are_17m_in_miniature_and_fit_the_sample(kind: str) -> None:
    sample = load_mixture(mixture_path("sample"))
    for phase in PHASES:
        recipe, whole = load_recipe(f"sample-{kind}-{phase}"), shipped("17m", kind, phase)
        assert recipe.model.num_layers == whole.model.num_layers == 7
        assert recipe.model.kind == whole.model.kind
        assert recipe.model.global_every == whole.model.global_every
        assert recipe.model.vocab_size == whole.model.vocab_size
        assert recipe.global_batch_rows == sample.order.global_batch_size
        assert recipe.max_seq_len == sample.order.max_seq_len
        assert (recipe.start, recipe.phase) == (whole.start, phase)
        assert recipe.tokens <= 101_744  # an epoch of the sample
        assert (recipe.precision, recipe.compile) == ("fp32", False)
    pretraining = load_recipe(f"sample-{kind}-pretraining")
    assert pretraining.tokens // pretraining.save_every_tokens >= 2


def test_the_phases_of_a_model_meet_and_may_follow_each_other() -> None:
    prefixes = [f"ettin-{size}-{kind}" for size in SIZES for kind in KINDS]
    for prefix in [*prefixes, *(f"sample-{kind}" for kind in KINDS)]:
        first, second, third, cross = (load_recipe(f"{prefix}-{phase}") for phase in PHASES)
        for before, after in ((first, second), (second, third)):
            ends = before.optimizer.peak_rate * before.learning_rate.end
            assert ends == after.optimizer.peak_rate * after.learning_rate.start
            assert before.optimizer == after.optimizer
        shapes = {
            (one.model.num_layers, one.model.hidden_size, one.model.num_heads)
            for one in (first, second, third, cross)
        }
        assert len(shapes) == 1
