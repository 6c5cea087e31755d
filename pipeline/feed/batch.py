"""Values that a feed takes and returns: objectives, special ids, micro-batches.

Arrays of rows travel as `core.ragged.Rows`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import BoolArray, Int64Array, Uint8Array

Int32Array = NDArray[np.int32]
Inputs = Mapping[str, Int64Array | Int32Array | int]
"""What a model is given, by name; which names there are depends on the form."""

Form = Literal["flat", "padded"]
"""How a micro-batch is laid out: all rows in one, or a row of a matrix each."""
OnDamage = Literal["stop", "tombstone"]
"""What becomes of rows that cannot be read: an error, or a placeholder that is recorded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mlm:
    """Masked language modelling: `keyed-mask-v1`."""

    mask_prob: float
    """How likely a position is to be predicted; above 0, at most 1."""
    seed: int
    """The masks of a row follow from this and the row's number alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Clm:
    """Causal language modelling: each id from those before it in its row."""


Objective = Mlm | Clm


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SpecialIds:
    """The ids of a tokenizer that a feed needs to know."""

    cls_id: int
    """Begins a sequence."""
    sep_id: int
    """Ends a sequence."""
    pad_id: int
    """Fills what is no sequence."""
    mask_id: int
    """Stands where an id is to be predicted."""
    is_special: BoolArray
    """bool [vocab_size], True for ids that are never masked."""

    @property
    def vocab_size(self) -> int:
        """How many ids the tokenizer has; a row with a larger one is of another tokenizer."""
        return len(self.is_special)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Batch:
    """One rank's micro-batch."""

    inputs: Inputs
    """What a model is given."""
    step: int
    """The optimizer step it is part of, from 0."""
    rows: Int64Array
    """int64 [num_rows], the numbers of its rows in the order: rising; if packed, bin after bin."""
    next_row: int
    """Where to go on after it: the first row that no rank has been given."""
    ends_step: bool
    """Whether it is the last of its step."""
    num_tokens: int
    """Ids of its rows, padding left out."""
    num_labels: int
    """Positions that are predicted."""
    tombstones: Int64Array
    """int64 [num_tombstones], those of its rows that could not be read."""
    digests: Uint8Array | None
    """uint8 [num_rows, 32], the ledger's digests of its rows as they lie there, if asked for."""
