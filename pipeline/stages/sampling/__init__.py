"""Sampling: how many tokens each source gives, which files and which chunks, and how often."""

from pipeline.stages.sampling.algorithms import (
    balance_of,
    choose_files,
    enough_files,
    longest_first,
    rows_to_write,
    take_first,
)
from pipeline.stages.sampling.budget import (
    Ask,
    budgets,
    check_feasible,
    check_reachable,
    of_part,
    repetitions,
)
from pipeline.stages.sampling.draws import (
    Draw,
    draw_keyed,
    draw_longest_first,
    draw_partitions,
    in_sequence,
    key_of,
)

__all__ = [
    "Ask",
    "Draw",
    "balance_of",
    "budgets",
    "check_feasible",
    "check_reachable",
    "choose_files",
    "draw_keyed",
    "draw_longest_first",
    "draw_partitions",
    "enough_files",
    "in_sequence",
    "key_of",
    "longest_first",
    "of_part",
    "repetitions",
    "rows_to_write",
    "take_first",
]
