"""`Recipe`: how a model is trained in one phase, besides its data.

Rates and probabilities are exact. The fingerprint depends on what is learned alone, not on how a
step's work is divided, or how often a run saves and evaluates.
"""

from fractions import Fraction
from typing import ClassVar, Final, Literal

from pipeline.config.declaration import LARGEST_LENGTH, Declaration
from pipeline.config.learning_rate import RateSpec
from pipeline.config.settings import Complaints, Given, optional, setting, settings
from pipeline.config.value_types import (
    LARGEST_COUNT,
    NAME,
    SEED,
    TOKEN_AMOUNT,
    Integer,
    Nullable,
    Number,
)

ModelKind = Literal["encoder", "decoder"]
PhaseName = Literal["pretraining", "extension", "decay", "cross"]
"""`cross` is ours: a model of one kind trained on as the other."""

# Source: revisions of the suite's models on the Hub (`step599525`, `ext...`, `decay...`), and
# folders of `jhu-clsp/ettin-data-order` (`checkpoint_000001`, `ext_000001`, `decay_000001`).
CHECKPOINT_PREFIXES: Final[dict[PhaseName, str]] = {
    "pretraining": "step",
    "extension": "ext",
    "decay": "decay",
    "cross": "cross",
}
"""What checkpoint names of a recipe's phase begin with."""

PHASES_OF_ORDERS: Final = ("checkpoint", "ext", "decay")
"""In mixtures and in names of checkpoint windows, in the order of training; `cross` has none."""

_ROWS: Final = Integer(1, LARGEST_COUNT)
_LENGTH: Final = Integer(1, LARGEST_LENGTH)
_THETA: Final = Integer(1, 10**9)
_PROBABILITY: Final = Nullable(Number())
# From 0 to just below 1.
_PART: Final = Number(zero=True, below=True)


def checkpoint_prefix(order_phase: str) -> str:
    """Return the prefix of checkpoint names for a phase of an order; only pretraining's differs."""
    return "step" if order_phase == "checkpoint" else order_phase


@settings
class ModelSpec:
    kind: ModelKind = setting(
        "encoder sees both sides and predicts masked tokens; decoder sees the left side and "
        "predicts the next token."
    )
    num_layers: int = setting(
        "Number of layers; 1 more than a multiple of global_every.", Integer(1, 1000)
    )
    hidden_size: int = setting(
        "Width of the model; a multiple of twice num_heads.", Integer(2, 2**16)
    )
    intermediate_size: int = setting("Hidden width of the gated MLP.", Integer(1, 2**18))
    num_heads: int = setting("Attention heads, which share the width.", Integer(1, 2**12))
    max_positions: int = setting("Longest sequence that the model will ever be given.", _LENGTH)
    global_theta: int = setting("Base of the rotary positions in global layers.", _THETA)
    local_theta: int = setting("Base of the rotary positions in local layers.", _THETA)
    local_window: int = setting(
        "Attention window of local layers, half of it to each side; in a decoder, its left half.",
        Integer(2, LARGEST_LENGTH),
        default=128,
    )
    global_every: int = setting(
        "One layer in this many sees the whole sequence, beginning with the first.",
        Integer(1, 1000),
        default=3,
    )
    dropout: Fraction = setting(
        "Dropout after attention; there is none elsewhere.", _PART, default=Fraction(1, 10)
    )
    vocab_size: int = setting(
        "Token ids that the model knows; at least the tokenizer's.", _ROWS, default=50_368
    )

    @staticmethod
    def rule(given: Given) -> Complaints:
        num_layers, global_every = given.get("num_layers"), given.get("global_every")
        if num_layers and global_every and (num_layers - 1) % global_every:
            # As published: the first and the last layer are global.
            multiple = f"1 more than a multiple of global_every, here {global_every}"
            yield "num_layers", num_layers, multiple
        hidden_size, num_heads = given.get("hidden_size"), given.get("num_heads")
        # Rotary positions turn the numbers of a head in pairs.
        if hidden_size and num_heads and hidden_size % (2 * num_heads):
            yield "hidden_size", hidden_size, f"a multiple of twice num_heads, here {2 * num_heads}"
        window = given.get("local_window", 0)
        if window % 2:
            yield "local_window", window, "an even number: half of it to each side"


@settings
class ObjectiveSpec:
    """How many tokens of a sequence an encoder predicts; a decoder predicts all of them."""

    mask_prob: Fraction | None = setting(
        "Probability that a token is masked; for an encoder, and required there.",
        _PROBABILITY,
        default=None,
    )
    evaluation_mask_prob: Fraction | None = setting(
        "The same in evaluation; for an encoder, and required if it is evaluated.",
        _PROBABILITY,
        default=None,
    )


@settings
class OptimizerSpec:
    peak_rate: Fraction = setting(
        "Peak learning rate, of which learning_rate gives multiples; weight decay is full there.",
        Number(),
    )
    weight_decay: Fraction = setting(
        "Weight decay of a step at peak_rate; proportionally less at lower rates.", _PART
    )
    beta1: Fraction = setting("Adam beta1.", _PART, default=Fraction(9, 10))
    beta2: Fraction = setting("Adam beta2.", _PART, default=Fraction(98, 100))
    epsilon: Fraction = setting("Adam epsilon.", Number(), default=Fraction(1, 10**6))


@settings
class Recipe(Declaration):
    composed: ClassVar[tuple[str, ...]] = ("extends",)

    name: str = setting("Name of the recipe.", NAME)
    phase: PhaseName = setting("Phase of training; checkpoints are named after it.")
    start: Literal["fresh", "continue", "weights"] = setting(
        "What the phase starts from: fresh weights; weights and optimizer of a checkpoint "
        "(continue); or its weights only, which may be those of a model of the other kind."
    )
    model: ModelSpec = setting("The shape of the model.")
    objective: ObjectiveSpec = setting(
        "How many tokens of a sequence are predicted.", default=ObjectiveSpec()
    )
    tokens: int = setting(
        "Tokens of the phase, without padding; it ends with the step that reaches them.",
        TOKEN_AMOUNT,
    )
    global_batch_rows: int = setting("Rows of one step over all ranks.", _ROWS)
    micro_batch_rows: int = setting(
        "Maximum rows that a rank processes at once; affects memory, not what is learned.",
        _ROWS,
        changes_bytes=False,
    )
    max_seq_len: int = setting("Maximum tokens of a row that are fed.", Integer(3, LARGEST_LENGTH))
    optimizer: OptimizerSpec = setting("StableAdamW with fully decoupled weight decay.")
    learning_rate: RateSpec = setting("The learning rate over the phase.")
    seed: int = setting("Seed of fresh weights, masks and dropout.", SEED)
    save_every_tokens: int = setting(
        "Tokens between two checkpoints; the end of the phase is always saved.",
        TOKEN_AMOUNT,
        changes_bytes=False,
    )
    evaluate_every_tokens: int | None = optional(
        "Tokens between two evaluations on the validation split; null evaluates at the end of the "
        "phase only. Needs such a split and, for an encoder, objective.evaluation_mask_prob.",
        TOKEN_AMOUNT,
        changes_bytes=False,
    )
    precision: Literal["bf16", "fp32"] = setting(
        "Matmul dtype (autocast); weights and optimizer are always fp32.", default="bf16"
    )
    compile: bool = setting(
        "Whether to compile the model where that is possible.", default=True, changes_bytes=False
    )

    @staticmethod
    def rule(given: Given) -> Complaints:
        yield from _objective_rule(given)
        model, max_seq_len = given.get("model"), given.get("max_seq_len")
        if model is not None and max_seq_len is not None and max_seq_len > model.max_positions:
            most = f"at most model.max_positions, here {model.max_positions:,}"
            yield "max_seq_len", f"{max_seq_len:,}", most
        rate, tokens = given.get("learning_rate"), given.get("tokens")
        if rate and tokens and rate.warmup_tokens + rate.decay_tokens > tokens:
            got = f"{rate.warmup_tokens:,} tokens of warm-up and {rate.decay_tokens:,} of decay"
            yield "learning_rate", got, f"at most the {tokens:,} of the phase together"
        rows, micro = given.get("global_batch_rows"), given.get("micro_batch_rows")
        if rows is not None and micro is not None and micro > rows:
            yield "micro_batch_rows", f"{micro:,}", f"at most global_batch_rows, here {rows:,}"
        if given.get("phase") == "cross" and given.get("start", "weights") != "weights":
            expected = "weights in phase cross: those of a model of the other kind"
            yield "start", f'"{given["start"]}"', expected


def _objective_rule(given: Given) -> Complaints:
    model, objective = given.get("model"), given.get("objective")
    if model is None or objective is None:
        return
    if model.kind == "decoder":
        for name in ("mask_prob", "evaluation_mask_prob"):
            if (probability := getattr(objective, name)) is not None:
                expected = "none for a decoder, which masks nothing"
                yield "objective", f"{name} {probability}", expected
        return
    if objective.mask_prob is None:
        yield "objective", "no mask_prob", "one for an encoder, such as 0.3"
    if given.get("evaluate_every_tokens") is not None and objective.evaluation_mask_prob is None:
        expected = "one for an encoder that is evaluated, such as 0.15"
        yield "objective", "no evaluation_mask_prob", expected
