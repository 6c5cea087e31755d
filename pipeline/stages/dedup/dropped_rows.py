"""Drops: the rows of one file that go, each with its reason and what it is a copy of.

Enters: numbers of rows and files. Leaves: a parquet file that explains itself, with reasons and
survivors by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.arrays import Int64Array, Uint8Array, Uint32Array
from pipeline.core.files import publish
from pipeline.stages.dedup.scan import Surveyed

REASONS: Final = ("contaminated", "duplicate_text", "near_duplicate")
"""The words by which rows that go are counted. A document has one: the first that holds."""
CONTAMINATED, DUPLICATE_TEXT, NEAR_DUPLICATE = range(len(REASONS))
NOWHERE: Final = -1
"""In place of a survivor's file, for what is no copy."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DroppedRows:
    """Rows of one file that go."""

    files: Sequence[Surveyed]
    """All files, in canonical order."""
    file: int
    """Which of them it is."""
    rows: Uint32Array
    """uint32 [num_drops], rising."""
    reasons: Uint8Array
    """uint8 [num_drops], places in `REASONS`."""
    survivor_files: Int64Array
    """int64 [num_drops], the file of what each is a copy of, or NOWHERE."""
    survivor_rows: Uint32Array
    """uint32 [num_drops], its row there; without meaning where there is no file."""


def save_drops(path: Path, scratch: Path, drops: DroppedRows) -> None:
    """Publish the drops of one file: row, reason, of_source, of_file, of_row."""
    is_copy = drops.survivor_files != NOWHERE
    # Of all files, of which there may be very many, only those that are named.
    numbers, places = np.unique(drops.survivor_files, return_inverse=True)
    survivors = [drops.files[number] for number in numbers.tolist()]
    files = pa.array(places, mask=~is_copy)
    table = pa.table(
        {
            "row": drops.rows,
            "reason": _names(REASONS, pa.array(drops.reasons)),
            "of_source": _names([file.source for file in survivors], files),
            "of_file": _names([file.file for file in survivors], files),
            "of_row": pa.array(drops.survivor_rows, mask=~is_copy),
        }
    )
    with publish(path, scratch) as temporary:
        pq.write_table(table, temporary, compression="zstd", compression_level=3)


def _names(names: Sequence[str], places: pa.Array) -> pa.Array:
    """Return the names at these places; null where there is none."""
    return pa.array(names, pa.string()).take(places)
