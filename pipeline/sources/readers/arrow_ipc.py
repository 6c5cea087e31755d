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
    """Insist that no offset or index leads out of a column, which would end the process.

    Text may be no UTF-8, which is judged for each document. Raises: pa.ArrowInvalid.
    """
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        if "UTF8" not in str(error):
            raise
        # The check ends at such text, so all of it is looked at once more, as bytes.
        column.view(_as_bytes(column.type)).validate(full=True)


_BYTES = {
    pa.string(): pa.binary(),
    pa.large_string(): pa.large_binary(),
    pa.string_view(): pa.binary_view(),
}
_LISTS = (
    (pa.types.is_list, pa.list_),
    (pa.types.is_large_list, pa.large_list),
    (pa.types.is_list_view, pa.list_view),
    (pa.types.is_large_list_view, pa.large_list_view),
)


def _as_bytes(kind: pa.DataType) -> pa.DataType:
    """Return a type that has bytes in the place of text."""

    def inner(field: pa.Field) -> pa.Field:
        return field.with_type(_as_bytes(field.type))

    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _as_bytes(kind.storage_type)
    if types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _as_bytes(kind.value_type), kind.ordered)
    if types.is_run_end_encoded(kind):
        return pa.run_end_encoded(kind.run_end_type, _as_bytes(kind.value_type))
    if types.is_struct(kind):
        return pa.struct([inner(field) for field in kind])
    if types.is_union(kind):
        fields = [inner(kind.field(number)) for number in range(kind.num_fields)]
        return pa.union(fields, kind.mode, kind.type_codes)
    if types.is_map(kind):
        return pa.map_(inner(kind.key_field), inner(kind.item_field), kind.keys_sorted)
    if types.is_fixed_size_list(kind):
        return pa.list_(inner(kind.value_field), kind.list_size)
    for is_it, make in _LISTS:
        if is_it(kind):
            return make(inner(kind.value_field))
    return _BYTES.get(kind, kind)
