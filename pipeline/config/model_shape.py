"""`ModelSpec`: the shape of a model, as a recipe declares it, checked and complete.

What a model is called, how it is built and which library runs it are not known here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final, Literal

from pipeline.config.fields import Section, apply_rule, key
from pipeline.config.number_types import Number
from pipeline.config.value_types import Choice, Whole

ModelKind = Literal["encoder", "decoder"]

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


MODEL: Final = Section(ModelSpec, _model_rule)
"""A shape in a file, as one kind."""
