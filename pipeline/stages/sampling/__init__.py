"""Sampling: how many tokens each source gives, which files and which chunks, and how often."""

from pipeline.stages.sampling.algorithms import (
    balance_of,
    choose_files,
    enough_files,
    longest_first,
    rows_to_write,
    sample_source,
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

__all__ = [
    "Ask",
    "balance_of",
    "budgets",
    "check_feasible",
    "check_reachable",
    "choose_files",
    "enough_files",
    "longest_first",
    "of_part",
    "repetitions",
    "rows_to_write",
    "sample_source",
    "take_first",
]
