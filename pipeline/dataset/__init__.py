"""An output on disk: its paths, manifest, ledger and steps, and one way to open rows in order.

A folder, an address or a manifest enters; rows by number, or frozen values that say what was made,
leave. `mds`, `parquet` and `provenance` are the formats of its files.
"""

from pipeline.dataset.checkpoint_record import (
    CheckpointRecord,
    Clock,
    Seen,
    check_files,
    checkpoints_in,
    find_checkpoint,
    latest_checkpoint,
    read_record,
    write_record,
)
from pipeline.dataset.ledger import (
    DIGEST_BYTES,
    ROWS_PER_NODE,
    Ledger,
    LedgerSpan,
    first_difference,
    join,
    multiset_of,
    node_digest,
    root_of_multiset,
    row_digests,
)
from pipeline.dataset.manifest import (
    FORMAT,
    BudgetRecord,
    ChunkCounts,
    DocumentCounts,
    EvaluationCounts,
    InputRecord,
    Manifest,
    ManifestWindow,
    MixtureRecord,
    OrderedWindow,
    OrderManifest,
    OrderRecord,
    PartitionCounts,
    PartitionRecord,
    SourceRecord,
    TokenCounts,
    TokenizerRecord,
    content_of,
    format_of,
    manifest_bytes,
    manifest_windows,
    parse_manifest,
    read_either,
    read_manifest,
    windows_of,
)
from pipeline.dataset.open import open_rows
from pipeline.dataset.order_manifest import (
    check_order_manifest_path,
    digest_order,
    is_output,
    order_windows,
    write_order_manifest,
)
from pipeline.dataset.paths import (
    DOCUMENTS,
    DROPPED,
    MANIFEST,
    ORDER,
    PROVENANCE,
    STATE,
    STEPS,
    TRAIN,
    VALIDATION,
    State,
    chunk_folder,
    copies_file,
    drawn_file,
    dropped_file,
    is_output_file,
    provenance_file,
)
from pipeline.dataset.remote_folder import as_path, open_remote
from pipeline.dataset.rows import RowSource
from pipeline.dataset.steps import StepFile, StepWindow, split_files, split_windows

__all__ = [
    "DIGEST_BYTES", "DOCUMENTS", "DROPPED", "FORMAT", "MANIFEST", "ORDER", "PROVENANCE",
    "ROWS_PER_NODE", "STATE", "STEPS", "TRAIN", "VALIDATION", "BudgetRecord", "CheckpointRecord",
    "ChunkCounts", "Clock", "DocumentCounts", "EvaluationCounts", "InputRecord", "Ledger",
    "LedgerSpan", "Manifest", "ManifestWindow", "MixtureRecord", "OrderManifest", "OrderRecord",
    "OrderedWindow", "PartitionCounts", "PartitionRecord", "RowSource", "Seen", "SourceRecord",
    "State", "StepFile", "StepWindow", "TokenCounts", "TokenizerRecord", "as_path", "check_files",
    "check_order_manifest_path", "checkpoints_in", "chunk_folder", "content_of", "copies_file",
    "digest_order", "drawn_file", "dropped_file", "find_checkpoint", "first_difference",
    "format_of", "is_output", "is_output_file", "join", "latest_checkpoint", "manifest_bytes",
    "manifest_windows", "multiset_of", "node_digest", "open_remote", "open_rows", "order_windows",
    "parse_manifest", "provenance_file", "read_either", "read_manifest", "read_record",
    "root_of_multiset", "row_digests", "split_files", "split_windows", "windows_of",
    "write_order_manifest", "write_record",
]  # fmt: skip
