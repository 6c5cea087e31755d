"""Sample: which chunks of a source are drawn, and how often.

Enters: the lengths of a source's chunks, by partition, and what the mixture asks for. Leaves: for
each partition the rows to write, in order. All arithmetic is in whole tokens.

`keyed-v1` gives every chunk a number from (seed, source, partition, position) and takes chunks by
rising number until the budget is reached, so the draw overshoots by less than one chunk, and
neither the order of files nor the number of workers changes it. Frozen; golden vectors in the
tests.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Literal

import numpy as np

from pipeline.errors import MixtureError
from pipeline.records import BoolArray, Int64Array
from pipeline.seeds import key, numbers


def target_tokens(
    source: str, available: int, tokens: Literal["all"] | int | None, epochs: Fraction | None
) -> tuple[int, int]:
    """Return (whole repetitions, tokens to draw beyond them).

    Raises: MixtureError when a budget is larger than the source.
    """
    if epochs is not None:
        whole = epochs.numerator // epochs.denominator
        return whole, int(available * (epochs - whole))
    if tokens is None or tokens == "all" or tokens == available:
        return 1, 0
    if tokens > available:
        hint = (
            f"lower the budget to {available:,}, or repeat the source with "
            f"`epochs: {tokens}/{available}` in place of `tokens`"
        )
        raise MixtureError(
            f"sources.{source}.tokens: needs {tokens:,} tokens, has {available:,}",
            hint if available else "give the source files with documents in them, or leave it out",
        )
    return 0, tokens


def draw(
    source: str, lengths_by_partition: Mapping[str, Int64Array], num_tokens: int, seed: int
) -> dict[str, BoolArray]:
    """Choose chunks with `keyed-v1`: for each partition, bool [num_chunks] of those drawn.

    Takes the fewest chunks, by rising number, that together have at least `num_tokens` tokens.
    """
    partitions = sorted(lengths_by_partition)
    lengths = np.concatenate([lengths_by_partition[name] for name in partitions])
    drawn_by = np.concatenate(
        [
            numbers(key(seed, "sample", source, name), len(lengths_by_partition[name]))
            for name in partitions
        ]
    )
    order = np.argsort(drawn_by, kind="stable")
    sums = np.cumsum(lengths[order])
    num_drawn = int(np.searchsorted(sums, num_tokens, side="left")) + 1 if num_tokens else 0
    drawn = np.zeros(len(lengths), np.bool_)
    drawn[order[:num_drawn]] = True
    bounds = np.cumsum([len(lengths_by_partition[name]) for name in partitions])[:-1]
    return dict(zip(partitions, np.split(drawn, bounds), strict=True))


def rows_to_write(num_repetitions: int, drawn: BoolArray) -> Int64Array:
    """Return a partition's rows as they are written: every repetition whole, then the drawn."""
    whole = np.tile(np.arange(len(drawn)), num_repetitions)
    return np.concatenate([whole, np.flatnonzero(drawn)])
