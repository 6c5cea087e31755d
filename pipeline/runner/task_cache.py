"""Task cache: a record for each task that says what was made from what.

Tasks are pure functions from files to files. On a later run, a record of the same key whose files
are intact replaces the work.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pipeline.core.digest import FileDigest
from pipeline.core.file_system import syncing
from pipeline.core.files import publish, refuse_links, sync_entry, writing
from pipeline.core.json_record import from_json, parse_json, to_json
from pipeline.core.record_log import open_log
from pipeline.dataset import PartitionCounts, State
from pipeline.dataset.mds import INDEX_NAME, index_bytes, merge_indexes

Files = Mapping[str, FileDigest]
"""What was written, by path relative to the output."""
Index = dict[str, Any]
"""That of a folder of shards."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskRecord:
    """What a task has written."""

    key: str
    """Fingerprint of all that decides the bytes."""
    files: Files


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionOutput(PartitionCounts):
    """The shards of a partition: of all its chunks, or of those that were sampled."""

    files: Files


@dataclass(frozen=True, kw_only=True, slots=True)
class ScannedInput:
    """A file that a scan has read."""

    sha256: str
    locked: str | None
    reasons: tuple[str, ...]
    """Why documents are dropped, by number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanRecord(TaskRecord):
    """The scans of a partition's files."""

    inputs: tuple[ScannedInput, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SpanRecord:
    """A `LedgerSpan`, digests as base64."""

    start_row: int
    num_rows: int
    multiset: str
    head: str
    nodes: str
    tail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderFileRecord(TaskRecord):
    """A file of ordered rows: the tokens and the digest of each step."""

    num_tokens: tuple[int, ...]
    sha256: tuple[str, ...]
    span: SpanRecord | None = None
    """None where the record is restored from a manifest, which has only whole nodes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScatterRecord(TaskRecord):
    """Rows that are laid out by position."""

    folder: str
    blake3: str | None
    shards: tuple[str, ...] = ()
    """BLAKE3 of the shards whose table was made on the way; this is not saved."""


AnyRecord = TaskRecord | PartitionOutput
Record = TypeVar("Record", bound=AnyRecord)


def below(folder: str, *written: Files) -> dict[str, FileDigest]:
    """Return what was written in a folder by name, by path from the folder's own."""
    names = {name: file for files in written for name, file in files.items()}
    return {f"{folder}/{name}": file for name, file in sorted(names.items())}


def publish_output(state: State, name: str, data: bytes) -> dict[str, FileDigest]:
    """Publish a file of the output, unless it is there and right; return what the file is."""
    path = state.out / name
    if path.is_file() and path.read_bytes() == data:
        # A process that was killed may have named it, and not yet made the name durable.
        with writing(path):
            sync_entry(path.parent)
    else:
        with publish(path, state.scratch) as temporary:
            temporary.write_bytes(data)
    return {name: FileDigest.of_bytes(data)}


def load_indexes(state: State, folder: str, parts: Iterable[str]) -> dict[str, Index]:
    """Load the indexes of folders below `folder`."""
    paths = {part: state.out / folder / part / INDEX_NAME for part in parts}
    return {part: parse_json(path.read_bytes()) for part, path in paths.items()}


def publish_index(
    state: State, folder: str, indexes: Sequence[tuple[str, Index]]
) -> dict[str, FileDigest]:
    """Merge the indexes of folders below `folder`, in this order, into one index there."""
    data = index_bytes(merge_indexes(indexes), merged=True)
    return publish_output(state, f"{folder}/{INDEX_NAME}", data)


def load_cached(state: State, name: str, key: str, kind: type[Record]) -> Record | None:
    """Return a task's record; None unless it has this key and every file it names is intact."""
    for saved in _find(state, name, key):
        try:
            record = from_json(kind, saved)
        except ValueError:
            continue
        if all(file.matches(state.out / path) for path, file in record.files.items()):
            return record
    return None


def has_record(state: State, name: str, key: str) -> bool:
    """Tell whether a task has a record of this key, whether or not its files are intact."""
    return any(True for _ in _find(state, name, key))


def has_records_below(state: State, folder: str) -> bool:
    """Tell whether any task that is named after something in a folder has a record."""
    return open_log(state.records).has_below(f"{folder}/")


def _find(state: State, name: str, key: str) -> Iterator[object]:
    """Yield the records that a task has of this key, the last one first.

    There are several where an input changed between runs, or a task ran twice.
    """
    for record in open_log(state.records).find(name):
        if isinstance(record, dict) and record.get("key") == key:
            yield record


@contextmanager
def recording(state: State, name: str) -> Iterator[Callable[[AnyRecord], None]]:
    """Yield what saves a task's record; first it makes durable what was written in the block.

    With it the earlier records of this process become durable.

    Raises: OutputError.
    """
    with syncing(state.out) as sync:

        def save(record: AnyRecord) -> None:
            sync([*(state.out / path for path in record.files), *_own_log(state)])
            save_record(state, name, record)

        yield save


def save_record(state: State, name: str, record: AnyRecord) -> None:
    """Save a task's record, which becomes durable with the files of the next one.

    A loss of power may take the last record of each process, and that task is done again.
    """
    refuse_links(state.out, state.records)
    open_log(state.records).add({name: to_json(record)})


def restore_all(state: State, records: Mapping[str, AnyRecord]) -> None:
    """Save records by the names of their tasks, and make them durable. Raises: OutputError."""
    with syncing(state.out) as sync:
        open_log(state.records).add({name: to_json(record) for name, record in records.items()})
        sync(_own_log(state))


def _own_log(state: State) -> list[Path]:
    """Return the log of this process, if it has saved any record."""
    own = open_log(state.records).own
    return [own] if own.exists() else []


def files_of(records: Iterable[AnyRecord]) -> dict[str, FileDigest]:
    return {path: file for record in records for path, file in record.files.items()}
