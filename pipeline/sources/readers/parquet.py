"""Parquet: a document a row."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.digest import sha256_file
from pipeline.core.errors import InputError, lacks_memory
from pipeline.sources.readers.raw_file import (
    Columns,
    DamagedError,
    RawFile,
    Record,
    id_of_bytes,
)
from pipeline.sources.readers.wrong_kind import HEAD_BYTES, refuse_wrong_file

# Rows that are Python values at a time, and bytes of a column that are read ahead.
_BATCH_ROWS = 128
_BUFFER_BYTES = 1 << 20
# Of the rows that are decoded at a time, as far as the metadata tells.
_BATCH_BYTES = 128 << 20
_MICROS = pa.duration("us")


Batches = Callable[[Path, int], Iterator[pa.RecordBatch | pa.Schema]]
"""Yields the schema of a file, then its rows, at most so many at a time."""


def read_parquet(file: RawFile, columns: Columns) -> Iterator[Record]:
    """Yield each row.

    Raises: InputError for columns that are missing, or a file that changes; DamagedError;
    MemoryError.
    """
    return read_batches(file, columns, "parquet", _batches)


def _batches(path: Path, batch_rows: int) -> Iterator[pa.RecordBatch | pa.Schema]:
    with pq.ParquetFile(path, buffer_size=_BUFFER_BYTES) as parquet:
        yield parquet.schema_arrow
        num_rows = 0
        for batch in parquet.iter_batches(_fitting_rows(parquet.metadata, batch_rows)):
            num_rows += batch.num_rows
            yield batch
        # A damaged footer can leave row groups out without a word.
        if num_rows != parquet.metadata.num_rows:
            raise OSError(f"got {num_rows} rows of {parquet.metadata.num_rows}")


def _fitting_rows(metadata: pq.FileMetaData, most: int) -> int:
    """Return how many rows to decode at a time: fewer where those of a row group are large."""
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        if group.total_byte_size > 0:
            most = min(most, group.num_rows * _BATCH_BYTES // group.total_byte_size)
    return max(most, 1)


def read_batches(file: RawFile, columns: Columns, form: str, read: Batches) -> Iterator[Record]:
    """Yield each row of a file that Arrow reads. Raises: as `read_parquet`."""
    path = file.file.path
    try:
        unchanged = _version(path)
        with path.open("rb") as raw:
            refuse_wrong_file(file.file, raw.read(HEAD_BYTES))
        batches = read(path, _BATCH_ROWS)
        columns.check(file.file.declared, _names(next(batches)))
        for batch in batches:
            row_bytes = batch.nbytes // max(batch.num_rows, 1)
            for values in zip(*_columns(batch, columns.id), strict=True):
                yield dict(zip(batch.schema.names, values, strict=True)), row_bytes
        # Other formats hash the bytes that they parse; here they are read twice.
        file.sha256 = sha256_file(path)
        if _version(path) != unchanged:
            raise InputError(
                f"{file.file.declared}: changed while it was read",
                "run the same command again once nothing writes to the file",
            )
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if lacks_memory(error):
            raise MemoryError(f"{file.file.declared}: {error}") from error
        raise DamagedError(form, error) from error


def _names(fields: Iterable[pa.Field], outer: str = "") -> list[str]:
    """Return the names of columns, and of the fields of structs as `struct.field`."""
    names = []
    for field in fields:
        names.append(f"{outer}{field.name}")
        if pa.types.is_struct(field.type):
            names += _names(field.type, f"{outer}{field.name}.")
    return names


def _version(path: Path) -> tuple[int, ...]:
    """Return what changes with every write to a file, or when another takes its place."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _columns(batch: pa.RecordBatch, id_: str | None) -> Iterator[list[Any]]:
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        values = _values(column)
        if name == id_ and _is_bytes(column.type):
            values = [None if value is None else id_of_bytes(value) for value in values]
        yield values


def _is_bytes(kind: pa.DataType) -> bool:
    is_of = pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary
    return any(one(kind) for one in is_of)


def _values(column: pa.Array) -> list[Any]:
    try:
        # Arrow's own values of nanoseconds depend on whether pandas is installed.
        if "[ns" not in str(column.type):
            return list(column.to_pylist())
    except (ValueError, OverflowError, KeyError):
        # Text that is not UTF-8, or a time that Python cannot hold, or a zone that it does not
        # know; each document is judged alone.
        pass
    return [_value(scalar) for scalar in column]


def _value(scalar: pa.Scalar) -> Any:
    """Return a value as Python has it; a time that Python cannot hold becomes text."""
    if isinstance(scalar, pa.StructScalar) and scalar.is_valid:
        return {name: _value(child) for name, child in scalar.items()}
    if isinstance(scalar, pa.ListScalar) and scalar.is_valid:
        return [_value(child) for child in scalar.values]
    try:
        if getattr(scalar.type, "unit", None) == "ns":
            zone = getattr(scalar.type, "tz", None)
            micros = {pa.TimestampScalar: pa.timestamp("us", zone), pa.DurationScalar: _MICROS}
            scalar = scalar.cast(micros.get(type(scalar), scalar.type))
        return scalar.as_py()
    except UnicodeDecodeError as error:
        return error.object
    except (ValueError, OverflowError, KeyError):  # A pa.ArrowInvalid is a ValueError.
        return _spelled(scalar)


def _spelled(scalar: pa.Scalar) -> str:
    """Return a time as text, or as a number if Arrow has no text for it."""
    try:
        return str(scalar.cast(pa.string()).as_py())
    except (pa.ArrowException, KeyError):
        return str(scalar.value)
