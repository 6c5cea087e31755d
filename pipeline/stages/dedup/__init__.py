"""Dedup: what must see the whole corpus to say which documents go.

Enters: documents, a partition at a time, in any order (`survey`). Leaves: for each input file the
rows that go, with reason and survivor (`find_drops`). Which stay is a function of the documents and
the declaration: of those that say the same it is the first by source, file and row.

All rules are written down in `docs/spec/dedup.md`.
"""

from pipeline.stages.dedup.decide import find_drops
from pipeline.stages.dedup.decontaminate import (
    Contamination,
    EvaluationTexts,
    read_evaluation,
    save_ngrams,
)
from pipeline.stages.dedup.dropped_rows import REASONS, DroppedRows, save_drops
from pipeline.stages.dedup.scan import Surveyed, save_survey, survey

__all__ = [
    "REASONS",
    "Contamination",
    "DroppedRows",
    "EvaluationTexts",
    "Surveyed",
    "find_drops",
    "read_evaluation",
    "save_drops",
    "save_ngrams",
    "save_survey",
    "survey",
]
