"""What a feed is asked for, and the micro-batches that it returns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import Int64Array, Uint8Array

Int32Array = NDArray[np.int32]
Inputs = Mapping[str, Int64Array | Int32Array | int]
"""A model's inputs by name; the names depend on the form."""

Form = Literal["flat", "padded"]
"""All rows of a micro-batch in one sequence, or one row of a matrix each."""
OnDamage = Literal["stop", "tombstone"]
"""Unreadable rows: raise an error, or feed and record placeholders."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mlm:
    """Masked language modelling: `keyed-mask-v1`."""

    mask_prob: float
    """Probability that a position is predicted; above 0, at most 1."""
    seed: int
    """Together with the number of a row it decides the row's masks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Clm:
    """Causal language modelling: each id is predicted from those before it in its row."""


Objective = Mlm | Clm


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Batch:
    """One rank's micro-batch."""

    inputs: Inputs
    step: int
    """Its optimizer step, from 0."""
    rows: Int64Array
    """int64 [num_rows], row numbers in the order: ascending, or bin by bin if packed."""
    next_row: int
    """Where to resume: the first row that no rank has been given yet."""
    ends_step: bool
    num_tokens: int
    """Ids of its rows, without padding and placeholders."""
    num_tokens_cut: int
    """Stored ids of its rows that the view has cut."""
    num_labels: int
    """Positions that are predicted."""
    tombstones: Int64Array
    """int64 [num_tombstones], the rows that placeholders replace."""
    digests: Uint8Array | None
    """uint8 [num_rows, 32], the ledger's digests of the stored rows, if requested."""
