"""Task cache: a record for each task that says what was made from what.

Tasks are pure functions from files to files. On a later run, a record of the same key whose files
are intact replaces the work: a file that was synced before its record was saved is while its size,
mtime and inode are unchanged, any other if it has the bytes of the record.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from pipeline.core.digest import FileDigest, trusted_bytes
from pipeline.core.file_system import syncing
from pipeline.core.files import publish, refuse_links, sync_entry, writing
from pipeline.core.json_record import from_json, to_json
from pipeline.core.mirrored import mirror_of, remove_folder
from pipeline.core.record_log import open_log, record_line
from pipeline.core.saved_file import SavedFile, facts_of
from pipeline.dataset import (
    OF_PARTITIONS,
    ORDER,
    PROVENANCE,
    TRAIN,
    PartitionCounts,
    State,
    UnreadInput,
    is_drawn_file,
)

_LOG = logging.getLogger(__name__)
_FILES_PER_LINE = 1000
Files = Mapping[str, FileDigest]
"""What was written, by path relative to the output."""
SizeOf = Callable[[str], int | None]
"""Tells the size of a file by path relative to the output; None where there is none."""


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
class _SavedFiles:
    files: Mapping[str, SavedFile]


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


def load_cached(
    state: State, name: str, key: str, kind: type[Record], *, hashes_all: bool
) -> Record | None:
    """Return a task's record; None unless it has this key and every file it names is intact.

    hashes_all: whether all of them are read. Those that are not have a `TrustedDigest`.
    """
    for saved in _find(state, name, key):
        try:
            files = from_json(_SavedFiles, {"files": saved.get("files")}).files
            record = from_json(kind, {**saved, "files": {}})
        except ValueError:
            continue
        found = {
            path: file.find(state.out / path, hashes_all=hashes_all) for path, file in files.items()
        }
        intact = {path: file for path, file in found.items() if file is not None}
        if len(intact) == len(found):
            return replace(record, files=intact)
    return None


def log_trusted(records: Iterable[AnyRecord]) -> None:
    """Log the files of records that were not read, inputs included, in lines of JSON.

    Each has the bytes of some of them by path.
    """
    trusted: dict[str, int] = {}
    unread: dict[str, int] = {}

    def log() -> None:
        found = {"trusted": trusted, "unread_inputs": unread}
        if line := {what: files for what, files in found.items() if files}:
            _LOG.warning("%s", json.dumps(line))
        trusted.clear()
        unread.clear()

    for record in records:
        inputs = record.inputs if isinstance(record, PartitionOutput) else ()
        unread |= {one.path: one.num_bytes for one in inputs if isinstance(one, UnreadInput)}
        trusted |= trusted_bytes(record.files)
        if len(trusted) + len(unread) >= _FILES_PER_LINE:
            log()
    log()


def may_stand(state: State, size_of: SizeOf, name: str, key: str) -> bool:
    """Tell whether a task has a record of this key whose files have their sizes; none is read."""
    for saved in _find(state, name, key):
        with suppress(ValueError):
            files = from_json(_SavedFiles, {"files": saved.get("files")}).files
            if have_sizes(size_of, files):
                return True
    return False


def have_sizes(size_of: SizeOf, files: Files) -> bool:
    """Tell whether some files of an output are there with the sizes that they should have."""
    return all(size_of(path) == file.num_bytes for path, file in files.items())


def sizes_of(state: State) -> SizeOf:
    """Return what tells the sizes of files of an output, or of the store that it lies in."""
    if (mirror := mirror_of(state.out)) is not None:
        return mirror.sizes(state.out).get

    def size_of(path: str) -> int | None:
        facts = facts_of(state.out / path)
        return facts and facts[0]

    return size_of


def has_record(state: State, name: str, key: str) -> bool:
    """Tell whether a task has a record of this key, whether or not its files are intact."""
    return any(True for _ in _find(state, name, key))


def has_records_below(state: State, folder: str) -> bool:
    """Tell whether any task that is named after something in a folder at the top has a record."""
    return open_log(state.records).has_below(folder)


def distrust_order(state: State, name: str, *, hashes_all: bool) -> None:
    """Remove what an unfinished build has put in order, if rows that a task made are damaged.

    Nobody knows whether they were read before or after. The order of a finished build was complete
    before, and stays until a file of it is written again.
    """
    made = [_files_of_rows(saved) for saved in open_log(state.records).find(name)]
    is_damaged = bool(made) and not any(
        all(file.find(state.out / path, hashes_all=hashes_all) for path, file in files.items())
        for files in made
    )
    if not is_damaged or state.ordered.exists():
        return
    begun: list[str | Path] = [state.scattered(""), state.sorted(""), state.documents, ORDER]
    begun += [one for one in (state.out / PROVENANCE).glob("*") if one.name not in OF_PARTITIONS]
    for folder in begun:
        remove_folder(state.out / folder)


def _files_of_rows(saved: object) -> Mapping[str, SavedFile]:
    """Return what an order reads of the files in a record."""
    try:
        files = from_json(_SavedFiles, {"files": cast(Any, saved)["files"]}).files
    except (ValueError, TypeError, KeyError):
        return {}
    return {
        path: file
        for path, file in files.items()
        if (path.startswith(f"{TRAIN}/") and not path.endswith(".json")) or is_drawn_file(path)
    }


def _find(state: State, name: str, key: str) -> Iterator[dict[str, Any]]:
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
            # Looked at before they are synced: what is written later has another mtime.
            files = {
                path: SavedFile.of_written(state.out / path, file)
                for path, file in record.files.items()
            }
            is_synced = sync([*(state.out / path for path in files), *_own_log(state)])
            if (mirror := mirror_of(state.out)) is not None:
                versions = mirror.save([state.out / path for path in files])
                files = {
                    path: replace(file, version=versions[state.out / path])
                    for path, file in files.items()
                }
            if is_synced or mirror is not None:
                record = replace(record, files=files)
            save_record(state, name, record)

        yield save


def save_record(state: State, name: str, record: AnyRecord) -> None:
    """Save a task's record, which becomes durable with the files of the next one.

    A loss of power may take the last record of each process, and that task is done again.
    """
    refuse_links(state.out, state.records)
    if (mirror := mirror_of(state.out)) is not None:
        mirror.add_records(state.records, record_line(name, to_json(record)))
    open_log(state.records).add([(name, to_json(record))])


def remove_sampled(state: State) -> None:
    """Remove what only sampling reads, once every record of what it made is durable.

    Raises: OutputError.
    """
    folders = [one for one in state.before_sampling if one.exists()]
    if folders and state.records.exists():
        with syncing(state.out) as sync:
            sync(state.records.iterdir())
    # A store may have what this machine has not.
    for folder in folders if mirror_of(state.out) is None else state.before_sampling:
        # What a disk keeps is removed with the rest of the state.
        remove_folder(folder)


def restore_all(state: State, records: Iterable[tuple[str, AnyRecord]]) -> None:
    """Save records with the names of their tasks, one at a time, and make them durable.

    Raises: OutputError.
    """
    with syncing(state.out) as sync:
        open_log(state.records).add((name, to_json(record)) for name, record in records)
        sync(_own_log(state))
    if (mirror := mirror_of(state.out)) is not None:
        for log in _own_log(state):
            mirror.add_records(state.records, log)


def _own_log(state: State) -> list[Path]:
    """Return the log of this process, if it has saved any record."""
    own = open_log(state.records).own
    return [own] if own.exists() else []


def files_of(records: Iterable[AnyRecord]) -> dict[str, FileDigest]:
    return {path: file for record in records for path, file in record.files.items()}
