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

from pipeline import digest
from pipeline.mixture.keys import Record, apply_rule, key, plain
from pipeline.mixture.kinds import Choice, Flag, Nullable, OneOrMany, Prose, Tokens, Whole
from pipeline.mixture.texts import LARGEST_SEED, NAME
from pipeline.recipe.kinds import Number, Span

Phase = Literal["pretraining", "extension", "decay", "cross"]
ModelKind = Literal["encoder", "decoder"]
Start = Literal["fresh", "continue", "weights"]
Precision = Literal["bf16", "fp32"]
Shape = Literal["warmup-stable-decay", "one-minus-sqrt"]

LARGEST_COUNT: Final = 2**31 - 1
LARGEST_LENGTH: Final = 1_000_000
LARGEST_THETA: Final = 10**9


def _model_rule(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    num_layers, global_every = given.get("num_layers"), given.get("global_every")
    if num_layers and global_every and (num_layers - 1) % global_every:
        # As published: the first and the last layer are global.
        expected = f"1 more than a multiple of global_every, here {global_every}"
        yield "num_layers", f"got {num_layers}, expected {expected}"
    hidden_size, num_heads = given.get("hidden_size"), given.get("num_heads")
    # Rotary positions turn the numbers of a head in pairs.
    if hidden_size and num_heads and hidden_size % (2 * num_heads):
        expected = f"a multiple of twice num_heads, here {2 * num_heads}"
        yield "hidden_size", f"got {hidden_size}, expected {expected}"
    window = given.get("local_window", 0)
    if window % 2:
        yield "local_window", f"got {window}, expected an even number: half of it to each side"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """The shape of a model: its parameters follow from it, and how it sees positions."""

    kind: ModelKind = field(
        metadata=key(
            Choice("encoder", "decoder"),
            "encoder sees both sides and predicts masked ids; decoder sees what came before and "
            "predicts the next id.",
        )
    )
    num_layers: int = field(
        metadata=key(Whole(1, 1000), "Layers; 1 more than a multiple of global_every.")
    )
    hidden_size: int = field(metadata=key(Whole(2, 2**16), "Width of the model."))
    intermediate_size: int = field(
        metadata=key(Whole(1, 2**18), "Width between the two halves of a gated MLP.")
    )
    num_heads: int = field(metadata=key(Whole(1, 2**12), "Attention heads; they share the width."))
    max_positions: int = field(
        metadata=key(Whole(1, LARGEST_LENGTH), "Longest sequence that the model may ever be given.")
    )
    global_theta: int = field(
        metadata=key(Whole(1, LARGEST_THETA), "Base of the rotary positions in global layers.")
    )
    local_theta: int = field(
        metadata=key(Whole(1, LARGEST_THETA), "Base of the rotary positions in local layers.")
    )
    local_window: int = field(
        default=128,
        metadata=key(
            Whole(2, LARGEST_LENGTH),
            "Width of what local layers see: half of it to each side; of a decoder, to the left.",
        ),
    )
    global_every: int = field(
        default=3,
        metadata=key(
            Whole(1, 1000),
            "Steps from one layer that sees the whole sequence to the next; the first one does.",
        ),
    )
    dropout: Fraction = field(
        default=Fraction(1, 10),
        metadata=key(
            Number(zero=True, one=False), "Dropout after attention; there is none elsewhere."
        ),
    )
    vocab_size: int = field(
        default=50_368,
        metadata=key(
            Whole(1, LARGEST_COUNT), "Ids that the model knows; at least the tokenizer's."
        ),
    )

    def __post_init__(self) -> None:
        apply_rule(_model_rule, self)


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


def _rate_rule(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not {"start", "end", "decay_tokens"} <= given.keys():
        return
    start, end, decay_tokens = given["start"], given["end"], given["decay_tokens"]
    if end > start:
        yield "end", f"got {end}, expected at most start, here {start}"
    elif end != start and not decay_tokens:
        yield "end", f"got {end}, expected start, here {start}, where nothing decays: decay_tokens"


@dataclass(frozen=True, kw_only=True, slots=True)
class RateSpec:
    """The learning rate over a phase, in multiples of the peak rate."""

    shape: Shape = field(
        metadata=key(
            Choice("warmup-stable-decay", "one-minus-sqrt"),
            "How the rate falls at the end: in a line, or as 1 - sqrt does, fast at first.",
        )
    )
    start: Fraction = field(
        metadata=key(
            Number(zero=False, one=True),
            "Rate after the warm-up, and until the decay, as a multiple of the peak rate.",
        )
    )
    end: Fraction = field(
        metadata=key(
            Number(zero=True, one=True),
            "Rate at the end of the phase, as a multiple of the peak rate; start without decay.",
        )
    )
    warmup_tokens: int = field(
        default=0,
        metadata=key(Span(), "Tokens over which the rate first rises from 0 to start, in a line."),
    )
    decay_tokens: int = field(
        default=0, metadata=key(Span(), "Tokens before the end over which it falls to end.")
    )

    def __post_init__(self) -> None:
        apply_rule(_rate_rule, self)


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
    phase: Phase = field(
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
    model: ModelSpec = field(
        metadata=key(Record(ModelSpec, _model_rule), "The shape of the model.")
    )
    objective: ObjectiveSpec = field(
        default_factory=ObjectiveSpec,
        metadata=key(Record(ObjectiveSpec), "How much of a sequence is to be predicted."),
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
        metadata=key(Record(OptimizerSpec), "StableAdamW with fully decoupled weight decay.")
    )
    learning_rate: RateSpec = field(
        metadata=key(Record(RateSpec, _rate_rule), "The learning rate over the phase.")
    )
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
            "Tokens between two evaluations on the validation split; none if null.",
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
        declared: dict[str, Any] = plain(self)
        return declared

    @property
    def fingerprint(self) -> str:
        """The sha256 of the declaration's canonical JSON."""
        return digest.fingerprint(self.declaration())


RECIPE: Final = Record(Recipe, _recipe_rule, composing=("extends",))
"""The whole file, as one kind."""

_PREFIXES: Final[Mapping[Phase, str]] = {
    "pretraining": "step",
    "extension": "ext",
    "decay": "decay",
    "cross": "cross",
}


def checkpoint_prefix(phase: Phase) -> str:
    """Return what the name of a phase's checkpoints begins with, before the number of steps.

    Source: revisions of the suite's models on the Hub, `step599525` for one; `cross` is ours.
    """
    return _PREFIXES[phase]
