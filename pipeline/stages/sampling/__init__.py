"""Sample: what is asked of each source, which chunks are drawn for it, and how often."""

from pipeline.stages.sampling.budget import Ask, budgets, of_part, repetitions
from pipeline.stages.sampling.feasibility import check_feasible
from pipeline.stages.sampling.sampler import Balance, Drawn, balance_of, draw_source, rows_to_write
from pipeline.stages.sampling.scaled_files import choose_files

__all__ = [
    "Ask",
    "Balance",
    "Drawn",
    "balance_of",
    "budgets",
    "check_feasible",
    "choose_files",
    "draw_source",
    "of_part",
    "repetitions",
    "rows_to_write",
]
