"""Arrow IPC: a document a row, of a file or a stream (which `datasets.save_to_disk` writes)."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from pipeline.sources.readers.parquet import read_batches
from pipeline.sources.readers.raw_file import Columns, RawFile, Record

_FILE_MARK = b"ARROW1"
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


def read_arrow(file: RawFile, columns: Columns) -> Iterator[Record]:
    """Yield each row. Raises: as `read_parquet`."""
    return read_batches(file, columns, "Arrow", _batches)


def _batches(path: Path, batch_rows: int) -> Iterator[pa.RecordBatch | pa.Schema]:
    """Yield the schema, then all rows."""
    with pa.OSFile(str(path)) as raw:
        size = raw.size()
        if raw.read(len(_FILE_MARK)) == _FILE_MARK:
            reader = pa.ipc.open_file(raw)
            batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
        else:
            # A stream that is cut between two batches reads like a whole one.
            raw.seek(max(0, size - len(_END_OF_STREAM)))
            if raw.read() != _END_OF_STREAM:
                raise OSError("the file is truncated")
            raw.seek(0)
            reader = pa.ipc.open_stream(raw)
            batches = iter(reader)
        yield reader.schema
        for batch in batches:
            for column in batch.columns:
                _check(column)
            for start in range(0, batch.num_rows, batch_rows):
                yield batch.slice(start, batch_rows)


def _check(column: pa.Array) -> None:
    """Insist that no offset leads out of a column, which would end the process when it is read.

    Text may be no UTF-8, which is checked after the offsets, for each document. Raises:
    pa.ArrowInvalid.
    """
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        if "UTF8" not in str(error):
            raise
        # Of columns with others inside, those after the first that is no UTF-8 are not looked at.
        for inner in _inside(column):
            _check(inner)


def _inside(column: pa.Array) -> list[pa.Array]:
    if isinstance(column, pa.StructArray):
        return [column.field(number) for number in range(column.type.num_fields)]
    if isinstance(column, pa.MapArray):
        return [column.keys, column.items]
    if isinstance(column, pa.DictionaryArray):
        return [column.dictionary]
    if isinstance(column, pa.ExtensionArray):
        return [column.storage]
    return [column.values] if hasattr(column, "values") else []
