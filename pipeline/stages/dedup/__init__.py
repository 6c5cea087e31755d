"""Dedup: which documents of the whole corpus are duplicates or contaminated.

Enters: documents, a partition at a time, in any order (`scan_documents`). Leaves: for each input
file the rows that are dropped, with reason and survivor (`find_drops`). Which are kept is a
function of the documents and the declaration: of equal ones, the first by source, file and row.

All rules are in `docs/spec/dedup.md`.
"""

from pipeline.stages.dedup.decontaminate import (
    Contamination,
    EvaluationTexts,
    read_evaluation,
    save_ngrams,
)
from pipeline.stages.dedup.find_drops import REASONS, DroppedRows, find_drops, save_drops
from pipeline.stages.dedup.scan import ScannedFile, save_scan, scan_documents

__all__ = [
    "REASONS",
    "Contamination",
    "DroppedRows",
    "EvaluationTexts",
    "ScannedFile",
    "find_drops",
    "read_evaluation",
    "save_drops",
    "save_ngrams",
    "save_scan",
    "scan_documents",
]
