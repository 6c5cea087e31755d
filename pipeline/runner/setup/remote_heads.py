"""Remote heads: the beginnings of some files of a store -> small files here, to be looked at.

A file whose bytes are read in order is cut after a mebibyte, and its last document with it. Parquet
and Arrow have their index at the end, so their first rows are read by ranges and written again.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import InputError
from pipeline.runner.setup.file_groups import FileGroup
from pipeline.sources import InputFile
from pipeline.storage import RangeFile, StoredFile, map_concurrently

_MOST_FILES: Final = 8
_HEAD_BYTES: Final = 1 << 20
_ROWS: Final = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadFile:
    """A file to be read here, in whole or in part."""

    file: InputFile
    """Its path is that of what is here."""
    is_cut: bool = False
    """Whether its last document may be incomplete."""
    stored_per_byte: float = 1.0
    """How many bytes of the whole file one byte of this stands for."""


@contextmanager
def read_heads(group: FileGroup) -> Iterator[list[ReadFile]]:
    """Yield the beginnings of some files of a group, at even distances, until the block ends.

    Raises: InputError when one cannot be read, NetworkError when its server cannot be reached.
    """
    filled = [file for file in group.files if file.num_bytes]
    number = min(len(filled), _MOST_FILES)
    chosen = [filled[index * len(filled) // number] for index in range(number)]
    with TemporaryDirectory(prefix="ettin-data-new-") as folder:
        places = [Path(folder, str(index)) for index in range(number)]
        pairs = list(zip(chosen, places, strict=True))
        yield list(map_concurrently(lambda pair: _fetch(group, *pair), pairs))


def _fetch(group: FileGroup, file: InputFile, place: Path) -> ReadFile:
    assert group.store is not None
    stored = group.stored[file.declared]
    remote = group.store.remote_file(stored)
    here = replace(file, path=place)
    if file.kind in _FIRST_ROWS:
        return _write_rows(here, stored, RangeFile(remote))
    stop = min(stored.num_bytes, _HEAD_BYTES)
    head = bytearray()
    remote.stream(0, stop, head.extend)
    is_cut = stop < stored.num_bytes
    if is_cut and file.kind in (".txt", ".md"):
        # A text may be cut anywhere but within a character.
        whole = bytes(head).decode(errors="ignore").encode()
        place.write_bytes(whole)
        return ReadFile(file=here, stored_per_byte=stored.num_bytes / max(len(whole), 1))
    place.write_bytes(head)
    return ReadFile(file=here, is_cut=is_cut)


def _write_rows(file: InputFile, stored: StoredFile, remote: RangeFile) -> ReadFile:
    try:
        rows, part = _FIRST_ROWS[file.kind](remote)
        if file.kind == ".parquet":
            pq.write_table(rows, file.path)
        else:
            with pa.OSFile(str(file.path), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as out:
                out.write_table(rows)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{file.declared}: broken {file.kind.removeprefix('.')}: {reason}",
            "look at the file, or name others",
        ) from error
    here = file.path.stat().st_size
    return ReadFile(file=file, stored_per_byte=stored.num_bytes * part / max(here, 1))


Rows = tuple[pa.Table, float]
"""The first rows of a file, and what part of it they are."""


def _first_of_parquet(remote: RangeFile) -> Rows:
    with pq.ParquetFile(remote, buffer_size=1 << 20) as parquet:
        batch = next(parquet.iter_batches(_ROWS), None)
        schema, num_rows = parquet.schema_arrow, parquet.metadata.num_rows
    return _table(batch, schema, num_rows)


def _first_of_arrow(remote: RangeFile) -> Rows:
    size = remote.num_bytes
    is_file = remote.read(6) == b"ARROW1"
    remote.seek(0)
    if is_file:
        reader = pa.ipc.open_file(remote)
        batch = reader.get_batch(0) if reader.num_record_batches else None
        rows = batch.num_rows * reader.num_record_batches if batch is not None else 0
        return _table(batch, reader.schema, rows)
    stream = pa.ipc.open_stream(remote)
    batch = next(iter(stream), None)
    # A stream does not say how many rows follow.
    num_rows = 0 if batch is None else max(size * batch.num_rows // max(batch.nbytes, 1), 1)
    return _table(batch, stream.schema, num_rows)


def _table(batch: pa.RecordBatch | None, schema: pa.Schema, num_rows: int) -> Rows:
    batches: Sequence[pa.RecordBatch] = [] if batch is None else [batch.slice(0, _ROWS)]
    table = pa.Table.from_batches(batches, schema)
    return table, min(table.num_rows / max(num_rows, 1), 1.0)


_FIRST_ROWS: Final[dict[str, Callable[[Any], Rows]]] = {
    ".parquet": _first_of_parquet,
    ".arrow": _first_of_arrow,
}
