"""Dedup: which documents of the whole corpus are duplicates or contaminated.

`scan_documents` takes documents, one partition at a time in any order; `find_drops` returns the
dropped rows of each input file with reason and survivor. Of equal documents the first by source,
file and row is kept. `docs/spec/dedup.md` has all rules.
"""

from pipeline.stages.dedup.decontaminate import Contamination, read_evaluation, save_ngrams
from pipeline.stages.dedup.find_drops import (
    REASONS,
    DroppedRows,
    bucket_bytes,
    find_drops,
    save_drops,
)
from pipeline.stages.dedup.scan import DIGEST, ScannedFile, save_scan, scan_documents

__all__ = [
    "DIGEST",
    "REASONS",
    "Contamination",
    "DroppedRows",
    "ScannedFile",
    "bucket_bytes",
    "find_drops",
    "read_evaluation",
    "save_drops",
    "save_ngrams",
    "save_scan",
    "scan_documents",
]
