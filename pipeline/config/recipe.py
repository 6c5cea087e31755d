"""`Recipe`: one phase of training a model, as a person declares it, checked and complete.

Each field below declares its key; checks and JSON Schema are both made from that. Rates and
probabilities are exact, as written. A fingerprint depends on what is learned alone: not on comments
or what was composed of several files, and not on how a step's work is divided, when it is saved or
how often it is looked at.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final, Literal

from pipeline.config.fields import Section, apply_rule, key, to_plain
from pipeline.config.learning_rate import RATE, RateSpec
from pipeline.config.model_shape import LARGEST_COUNT, LARGEST_LENGTH, MODEL, ModelSpec
from pipeline.config.number_types import Number
from pipeline.config.phases import PhaseName
from pipeline.config.text_types import LARGEST_SEED, NAME
from pipeline.config.value_types import Choice, Flag, Nullable, OneOrMany, Prose, Tokens, Whole
from pipeline.core import digest

Start = Literal["fresh", "continue", "weights"]
Precision = Literal["bf16", "fp32"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectiveSpec:
    """How much of a sequence an encoder is asked for; a decoder is asked for all of it."""

    mask_prob: Fraction | None = field(
        default=None,
        metadata=key(
            Nullable(Number(zero=False, one=True)),
            "How likely an id is to be predicted; for an encoder, and needed.",
        ),
    )
    evaluation_mask_prob: Fraction | None = field(
        default=None,
        metadata=key(
            Nullable(Number(zero=False, one=True)),
            "The same in evaluation; for an encoder, and needed if it is evaluated.",
        ),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerSpec:
    """StableAdamW with fully decoupled weight decay."""

    peak_rate: Fraction = field(
        metadata=key(
            Number(zero=False, one=True),
            "Learning rate of which learning_rate gives multiples, and at which weight decay is "
            "full.",
        )
    )
    weight_decay: Fraction = field(
        metadata=key(
            Number(zero=True, one=False),
            "Part that a step at peak_rate takes from each weight; at lower rates in proportion "
            "less.",
        )
    )
    beta1: Fraction = field(
        default=Fraction(9, 10),
        metadata=key(Number(zero=True, one=False), "Memory of the mean of gradients."),
    )
    beta2: Fraction = field(
        default=Fraction(98, 100),
        metadata=key(Number(zero=True, one=False), "Memory of the mean of their squares."),
    )
    epsilon: Fraction = field(
        default=Fraction(1, 10**6),
        metadata=key(Number(zero=False, one=True), "Keeps the division away from zero."),
    )


def _recipe_rule(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from _objective_rule(given)
    model, max_seq_len = given.get("model"), given.get("max_seq_len")
    if model is not None and max_seq_len is not None and max_seq_len > model.max_positions:
        expected = f"at most model.max_positions, here {model.max_positions:,}"
        yield "max_seq_len", f"got {max_seq_len:,}, expected {expected}"
    rate, tokens = given.get("learning_rate"), given.get("tokens")
    if rate is not None and tokens is not None and rate.warmup_tokens + rate.decay_tokens > tokens:
        got = f"{rate.warmup_tokens:,} tokens of warm-up and {rate.decay_tokens:,} of decay"
        yield "learning_rate", f"got {got}, expected at most the {tokens:,} of the phase together"
    rows, micro = given.get("global_batch_rows"), given.get("micro_batch_rows")
    if rows is not None and micro is not None and micro > rows:
        expected = f"at most global_batch_rows, here {rows:,}"
        yield "micro_batch_rows", f"got {micro:,}, expected {expected}"
    if given.get("phase") == "cross" and given.get("start", "weights") != "weights":
        expected = "weights in phase cross: those of a model of the other kind"
        yield "start", f'got "{given["start"]}", expected {expected}'


def _objective_rule(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    model, objective = given.get("model"), given.get("objective")
    if model is None or objective is None:
        return
    if model.kind == "decoder":
        for name in ("mask_prob", "evaluation_mask_prob"):
            if getattr(objective, name) is not None:
                got = f"got {name} {getattr(objective, name)}"
                yield "objective", f"{got}, expected none for a decoder, which masks nothing"
        return
    if objective.mask_prob is None:
        yield "objective", "got no mask_prob, expected one for an encoder, such as 0.3"
    if given.get("evaluate_every_tokens") is not None and objective.evaluation_mask_prob is None:
        expected = "one for an encoder that is evaluated, such as 0.15"
        yield "objective", f"got no evaluation_mask_prob, expected {expected}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything that a phase of training needs beside its data."""

    name: str = field(metadata=key(NAME, "Name of the recipe."))
    description: str = field(
        default="",
        metadata=key(Prose(), "What the recipe is for, in free words.", changes_bytes=False),
    )
    assumptions: tuple[str, ...] = field(
        default=(),
        metadata=key(
            OneOrMany(Prose()),
            "What was taken for granted where the record is silent or contradicts itself.",
            changes_bytes=False,
        ),
    )
    phase: PhaseName = field(
        metadata=key(
            Choice("pretraining", "extension", "decay", "cross"),
            "Stage of training; checkpoints are named after it.",
        )
    )
    start: Start = field(
        metadata=key(
            Choice("fresh", "continue", "weights"),
            "What the phase begins with: fresh weights; weights and optimizer of a checkpoint; or "
            "its weights alone, as a model of the other kind may leave them.",
        )
    )
    model: ModelSpec = field(metadata=key(MODEL, "The shape of the model."))
    objective: ObjectiveSpec = field(
        default_factory=ObjectiveSpec,
        metadata=key(Section(ObjectiveSpec), "How much of a sequence is to be predicted."),
    )
    tokens: int = field(
        metadata=key(Tokens(), "Tokens of the phase, padding left out; it ends with their step.")
    )
    global_batch_rows: int = field(
        metadata=key(Whole(1, LARGEST_COUNT), "Rows of one step over all ranks.")
    )
    micro_batch_rows: int = field(
        metadata=key(
            Whole(1, LARGEST_COUNT),
            "Most rows that a rank takes at once; decides memory, not what is learned.",
            changes_bytes=False,
        )
    )
    max_seq_len: int = field(
        metadata=key(Whole(3, LARGEST_LENGTH), "Most tokens of a row that are fed.")
    )
    optimizer: OptimizerSpec = field(
        metadata=key(Section(OptimizerSpec), "StableAdamW with fully decoupled weight decay.")
    )
    learning_rate: RateSpec = field(metadata=key(RATE, "The learning rate over the phase."))
    seed: int = field(
        metadata=key(Whole(0, LARGEST_SEED), "Seed of fresh weights, masks and dropout.")
    )
    save_every_tokens: int = field(
        metadata=key(
            Tokens(),
            "Tokens between two checkpoints; the end of the phase is one in any case.",
            changes_bytes=False,
        )
    )
    evaluate_every_tokens: int | None = field(
        default=None,
        metadata=key(
            Nullable(Tokens()),
            "Tokens between two evaluations on the validation split; the end of the phase is "
            "evaluated in any case, if there is such a split and, for an encoder, "
            "objective.evaluation_mask_prob. Null for the end alone.",
            changes_bytes=False,
        ),
    )
    precision: Precision = field(
        default="bf16",
        metadata=key(
            Choice("bf16", "fp32"),
            "Numbers that products are made of; weights and optimizer are fp32 always.",
        ),
    )
    compile: bool = field(
        default=True,
        metadata=key(
            Flag(), "Whether the model is compiled where that is possible.", changes_bytes=False
        ),
    )
    overrides: tuple[str, ...] = ()
    """What `--set` gave, as normalised key=value, sorted; recorded, not part of the fingerprint."""

    def __post_init__(self) -> None:
        apply_rule(_recipe_rule, self)

    def declaration(self) -> dict[str, Any]:
        """Return what decides what is learned, with defaults, as JSON-able values. Pure."""
        declared: dict[str, Any] = to_plain(self)
        return declared

    @property
    def fingerprint(self) -> str:
        """The sha256 of the declaration's canonical JSON."""
        return digest.fingerprint(self.declaration())


RECIPE: Final = Section(Recipe, _recipe_rule, composing=("extends",))
"""The whole file, as one kind."""
