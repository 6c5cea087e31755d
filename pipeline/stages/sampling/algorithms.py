"""Samplers: frozen algorithms that choose the files and order the chunks of a source.

A sample is independent of the order in which files are listed and of workers. The tests hold golden
vectors. A budget above what is available repeats all chunks and draws the rest (`draws.py`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from pipeline.core.arrays import BoolArray, Int64Array
from pipeline.core.seeds import derive_key
from pipeline.stages.sampling.budget import Ask, repetitions

# Files differ in text for their size, and filters and chunking drop some.
_MARGIN = 2
# Ids of a bin, as in `token_decile.json`.
_BIN = 1000


def longest_first(lengths: Int64Array) -> Int64Array:
    """Return chunks from the longest down, in bins of 1,000 ids, each in the order of the file.

    lengths: int64 [num_chunks]. Pure.
    """
    return np.argsort(-(lengths // _BIN), kind="stable")


def take_first(partitions: Iterable[str], first: Sequence[str]) -> list[str]:
    """Return partitions in the order in which `ettin-longest-first-v1` takes them. Pure."""
    names = sorted(partitions)
    return [*(name for name in first if name in names), *(n for n in names if n not in first)]


def choose_files(
    files: Sequence[tuple[str, int]], scale: Fraction, seed: int, source: str
) -> list[int]:
    """Return the positions of the files that a miniature reads, rising, by `scaled-files-v1`. Pure.

    files: (path, bytes). Every file has a random number from (seed, source, path), and by rising
    number as many are taken as `enough_files` says. So a larger miniature contains the smaller one
    whatever the listing order.
    """
    ranked = sorted(
        (derive_key(seed, "scaled files", source, path), path, position)
        for position, (path, _) in enumerate(files)
    )
    sizes = [num_bytes for _, num_bytes in files]
    return enough_files(sizes, scale, [position for _, _, position in ranked])


def enough_files(sizes: Sequence[int], scale: Fraction, order: Sequence[int]) -> list[int]:
    """Return the positions of the files that a miniature reads, rising. Pure.

    sizes: bytes of each file. At least one is taken, in this order, until they have twice their
    share of all bytes; all from scale 1 on.
    """
    if scale >= 1:
        return list(range(len(sizes)))
    needed = _MARGIN * scale * sum(sizes)
    chosen: list[int] = []
    total = 0
    for position in order:
        if chosen and total >= needed:
            break
        chosen.append(position)
        total += sizes[position]
    return sorted(chosen)


@dataclass(frozen=True, kw_only=True, slots=True)
class Balance:
    """A source's sample in tokens; `drawn` is `asked` plus `overshoot`."""

    asked: int
    available: int
    num_repetitions: int
    """How often every chunk is used before the rest is sampled."""
    drawn: int
    repeated: int
    """Tokens of repeated chunks among them."""
    overshoot: int
    """Tokens above the budget, since chunks are not cut."""


def balance_of(ask: Ask, available: int, drawn: int) -> Balance:
    """Return the balance of `drawn` tokens out of `available`. Raises: as `repetitions`."""
    whole, beyond = repetitions(ask, available)
    asked = whole * available + beyond
    return Balance(
        asked=asked,
        available=available,
        num_repetitions=whole,
        drawn=drawn,
        repeated=max(drawn - available, 0),
        overshoot=drawn - asked,
    )


def rows_to_write(num_repetitions: int, again: BoolArray, order: Int64Array) -> Int64Array:
    """Return the rows of a partition in output order: whole repetitions, then the rest.

    order: int64 [num_chunks], in which each repetition and the rest have the chunks.
    """
    return np.concatenate([np.tile(order, num_repetitions), order[again[order]]])
