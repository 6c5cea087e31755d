"""Sampling: how many tokens each source gives, which files and which chunks, and how often."""

from pipeline.stages.sampling.budget import Ask, budgets, check_feasible, of_part, repetitions
from pipeline.stages.sampling.sample_source import balance_of, rows_to_write, sample_source
from pipeline.stages.sampling.scaled_files import choose_files

__all__ = [
    "Ask",
    "balance_of",
    "budgets",
    "check_feasible",
    "choose_files",
    "of_part",
    "repetitions",
    "rows_to_write",
    "sample_source",
]
