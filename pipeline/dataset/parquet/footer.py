"""The footer of a parquet file of an order: which row groups it has, and of what.

Enters: a file. Leaves: counts, types and ranges of steps, small enough to keep those of thousands
of files.
"""

import io
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.arrays import Int64Array
from pipeline.core.errors import InputError
from pipeline.dataset.parquet.decoder import nesting

IDS, STEP = "input_ids", "step"
# pyarrow itself asks for 64 KiB, which of small files is much; a footer of ten row groups is 3 KiB.
_TAIL_BYTES = 4 << 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Footer:
    """What a footer says."""

    num_rows: Int64Array
    """int64 [num_groups], rows of parquet, which are not always sequences."""
    num_ids: Int64Array
    """int64 [num_groups], ids of each row group, and one for each list without any."""
    steps: Int64Array | None
    """int64 [num_groups, 2], the first and the last step of each; None where not all are told."""
    depth: int
    """How many lists deep the ids lie."""
    dtype: str
    """The type of an id."""
    metadata: Any
    """As pyarrow has it, where reading it again would be dear; else None."""


def read_footer(where: str, source: Any, *, is_remote: bool) -> Footer:
    """Read the footer of a file that pyarrow can read; of a remote one hardly more than that.

    Raises: InputError for a file without the columns of an order; as pyarrow for what is none.
    """
    metadata = pq.read_metadata(_tail(source) if is_remote else source)
    schema = metadata.schema.to_arrow_schema()
    for name in (IDS, STEP):
        if schema.names.count(name) != 1:
            raise InputError(
                f"{where}: got columns {', '.join(schema.names)}, expected {IDS} and {STEP}"
            )
    depth, kind = nesting(schema.field(IDS).type)
    if depth not in (1, 2) or not pa.types.is_integer(kind):
        raise InputError(
            f"{where}: got {IDS} of type {schema.field(IDS).type}, expected lists of"
            " integers, or lists of lists"
        )
    if not pa.types.is_integer(schema.field(STEP).type):
        raise InputError(
            f"{where}: got {STEP} of type {schema.field(STEP).type}, expected integers"
        )
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    leaves = [column.path.partition(".")[0] for column in metadata.schema]
    ids, step = leaves.index(IDS), leaves.index(STEP)
    told = [group.column(step).statistics for group in groups]
    steps = None
    if all(one is not None and one.has_min_max for one in told):
        for one in told:
            check_step(where, one.max)
        steps = np.array([(one.min, one.max) for one in told], np.int64).reshape(-1, 2)
    return Footer(
        num_rows=np.array([group.num_rows for group in groups], np.int64),
        num_ids=np.array([group.column(ids).num_values for group in groups], np.int64),
        steps=steps,
        depth=depth,
        dtype=str(kind),
        metadata=metadata if is_remote else None,
    )


def check_step(where: str, step: int) -> None:
    """Refuse a number of a step that int64 cannot hold. Raises: InputError."""
    if step > np.iinfo(np.int64).max:
        raise InputError(f"{where}: got {STEP} {step}, expected numbers below 2^63")


def _tail(file: Any) -> BinaryIO:
    """Return the end of a remote file, the whole footer but little more."""
    start = max(0, file.seek(0, io.SEEK_END) - _TAIL_BYTES)
    file.seek(start)
    data = file.read()
    # The length of the footer, then four letters.
    missing = int.from_bytes(data[-8:-4], "little") + 8 - len(data)
    if 0 < missing <= start:
        file.seek(start - missing)
        data = file.read(missing) + data
    return io.BytesIO(data)
