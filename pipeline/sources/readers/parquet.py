"""Parquet: a document a row."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.digest import sha256_file
from pipeline.core.errors import InputError
from pipeline.sources.readers.raw_file import Columns, DamagedError, RawFile, Record

# Rows that are Python values at a time, and bytes of a column that are read ahead.
_BATCH_ROWS = 128
_BUFFER_BYTES = 1 << 20


def read_parquet(file: RawFile, columns: Columns) -> Iterator[Record]:
    """Yield each row.

    Raises: InputError for columns that are missing, or a file that changes; DamagedError.
    """
    path = file.file.path
    try:
        unchanged = _version(path)
        file.sha256 = sha256_file(path)
        with pq.ParquetFile(path, buffer_size=_BUFFER_BYTES) as parquet:
            columns.check(file.file.declared, parquet.schema_arrow.names)
            num_rows = 0
            for batch in parquet.iter_batches(batch_size=_BATCH_ROWS):
                num_rows += batch.num_rows
                row_bytes = batch.nbytes // max(batch.num_rows, 1)
                for values in zip(*map(_values, batch.columns), strict=True):
                    yield dict(zip(batch.schema.names, values, strict=True)), row_bytes
            # A damaged footer can leave row groups out without a word.
            if num_rows != parquet.metadata.num_rows:
                raise OSError(f"got {num_rows} rows of {parquet.metadata.num_rows}")
        # Other formats hash the bytes that they parse; here they are read twice.
        if _version(path) != unchanged:
            raise InputError(
                f"{file.file.declared}: changed while it was read",
                "run the same command again once nothing writes to the file",
            )
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DamagedError("parquet", error) from error


def _version(path: Path) -> tuple[int, ...]:
    """Return what changes with every write to a file, or when another takes its place."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _values(column: pa.Array) -> list[Any]:
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError):
        # Text that is not UTF-8, or a time that Python cannot hold; each document is judged alone.
        return [_value(scalar) for scalar in column]


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:
        return error.object
    except (ValueError, OverflowError):
        # Such metadata stays as Arrow has it.
        return scalar
