"""`keyed-mask-v1`: the ids to predict, by seed, row number and position.

There is no generator and no state: a row has the same masks in every batch, layout, rank and world
size, and after every resume. Frozen: `docs/spec/masks.md` has the rule, the tests golden vectors.
"""

from functools import lru_cache

import numpy as np

from pipeline.core.arrays import BoolArray, Int64Array
from pipeline.core.compiled import compiled
from pipeline.core.errors import ConfigError
from pipeline.core.seeds import GAMMA, derive_key, mix
from pipeline.feed.batch import Clm, Mlm, Objective
from pipeline.stages.tokenizer import SpecialIds

ALGORITHM = "keyed-mask-v1"
IGNORED = -100
"""The label of a position that is not predicted."""

_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def put_labels(
    inputs: Int64Array,
    starts: Int64Array,
    lengths: Int64Array,
    numbers: Int64Array,
    is_tombstone: BoolArray,
    objective: Objective,
    special: SpecialIds,
) -> Int64Array:
    """Return labels, unshifted, and put masks into `inputs`: int64 [num_places].

    starts: int64 [num_rows + 1], where each row starts, then `num_places`; the first is 0. What
    follows a row up to the next start is padding. lengths, numbers: int64 [num_rows].

    A label is the id before masking where it is to be predicted, else -100. Under `Clm` the first
    id of a row is not predicted, nor is anything of a placeholder.
    """
    labels = np.empty_like(inputs)
    match objective:
        case Mlm():
            _mask(
                inputs, starts, lengths, numbers, is_tombstone, _key(objective.seed),
                *thresholds(objective.mask_prob), special.is_special, np.int64(special.mask_id),
                labels,
            )  # fmt: skip
        case Clm():
            _copy(inputs, starts, lengths, is_tombstone, labels)
    return labels


def thresholds(mask_prob: float) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Return the limits of 32 bits below which an id is predicted, masked, made random.

    Raises: ConfigError for a probability that is not above 0 and at most 1.
    """
    if not 0 < mask_prob <= 1:
        raise ConfigError(f"mask_prob: got {mask_prob}, expected above 0 and at most 1")
    predicted = int(mask_prob * 2**32)
    return np.uint64(predicted), np.uint64(predicted * 8 // 10), np.uint64(predicted * 9 // 10)


@lru_cache
def _key(seed: int) -> np.uint64:
    return np.uint64(derive_key(seed, "mask"))


@compiled
def _mask(
    inputs: Int64Array,
    starts: Int64Array,
    lengths: Int64Array,
    numbers: Int64Array,
    is_tombstone: BoolArray,
    key: np.uint64,
    predicted_below: np.uint64,
    masked_below: np.uint64,
    random_below: np.uint64,
    is_special: BoolArray,
    mask_id: np.int64,
    labels: Int64Array,
) -> None:
    vocab_size = np.uint64(is_special.size)
    drawn, chosen = np.empty(lengths.max(), np.uint64), np.empty(lengths.max() + 1, np.int64)
    choices = np.empty(3, np.int64)
    choices[0] = mask_id
    for row in range(lengths.size):
        start, stop = starts[row], starts[row] + lengths[row]
        labels[start : starts[row + 1]] = IGNORED
        if is_tombstone[row]:
            continue
        row_inputs, row_labels = inputs[start:stop], labels[start:stop]
        row_drawn = drawn[: stop - start]
        state = mix(key + (np.uint64(numbers[row]) + np.uint64(1)) * GAMMA)
        # No branch on random bits: a misprediction costs as much as ten positions.
        for position in range(row_drawn.size):
            row_drawn[position] = mix(state + np.uint64(position + 1) * GAMMA)
        num_chosen = np.int64(0)
        for position in range(row_drawn.size):
            chosen[num_chosen] = position
            num_chosen += np.int64((row_drawn[position] >> _HALF) < predicted_below)
        for position in chosen[:num_chosen]:
            id_, number = row_inputs[position], row_drawn[position]
            if is_special[id_]:
                continue
            row_labels[position] = id_
            choices[1] = np.int64(((number & _LOW) * vocab_size) >> _HALF)
            choices[2] = id_
            high = number >> _HALF
            row_inputs[position] = choices[
                np.int64(high >= masked_below) + np.int64(high >= random_below)
            ]


@compiled
def _copy(
    inputs: Int64Array,
    starts: Int64Array,
    lengths: Int64Array,
    is_tombstone: BoolArray,
    labels: Int64Array,
) -> None:
    for row in range(lengths.size):
        start, stop = starts[row], starts[row] + lengths[row]
        if is_tombstone[row]:
            stop = start
        row_inputs, row_labels = inputs[start:stop], labels[start:stop]
        for position in range(row_inputs.size):
            row_labels[position] = row_inputs[position]
        labels[stop : starts[row + 1]] = IGNORED
        if start < stop:
            labels[start] = IGNORED
