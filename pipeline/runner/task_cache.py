"""Task cache: a record for each task that says what was made from what.

A task is a pure function from files to files. Its record names the bytes that it read and wrote; on
a later run, a record of the same key whose files are intact replaces the work.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.core.digest import canonical_json, fingerprint, sha256_file
from pipeline.core.files import publish
from pipeline.dataset import State, describe_file
from pipeline.dataset.mds import INDEX_NAME, index_bytes, merge_indexes

TaskRecord = dict[str, Any]
"""JSON-able; has at least `key` (fingerprint of all that decides the bytes) and `files` (what was
written, as path relative to the output -> size and sha256)."""


def describe(path: Path, name: str) -> dict[str, Any]:
    """Return size and sha256 of a file, or of each file in a flat folder, by path from `name`."""
    if not path.is_dir():
        return {name: describe_file(path)}
    return {f"{name}/{file.name}": describe_file(file) for file in sorted(path.iterdir())}


def publish_output(state: State, name: str, data: bytes) -> dict[str, Any]:
    """Publish a file of the output, unless it is there and right; return what the file is."""
    path = state.out / name
    if not (path.is_file() and path.read_bytes() == data):
        with publish(path, state.scratch) as temporary:
            temporary.write_bytes(data)
    return {name: describe_file(path)}


def publish_index(state: State, folder: str, parts: Iterable[str]) -> dict[str, Any]:
    """Merge the indexes of folders below `folder`, in this order, into one index there."""
    indexes = [
        (part, json.loads((state.out / folder / part / INDEX_NAME).read_bytes())) for part in parts
    ]
    data = index_bytes(merge_indexes(indexes), merged=True)
    return publish_output(state, f"{folder}/{INDEX_NAME}", data)


def is_intact(path: Path, about: dict[str, Any]) -> bool:
    """Tell whether a file has the size and the sha256 that a record gives it."""
    # The size first: it costs nothing.
    return (
        path.is_file()
        and path.stat().st_size == about["bytes"]
        and sha256_file(path) == about["sha256"]
    )


def load_cached(state: State, name: str, key: str) -> TaskRecord | None:
    """Return a task's record; None unless it has this key and every file it names is intact."""
    record = _load_record(state, name, key)
    if record is None:
        return None
    files = record["files"].items()
    return record if all(is_intact(state.out / path, about) for path, about in files) else None


def has_record(state: State, name: str, key: str) -> bool:
    """Tell whether a task has a record of this key, whether or not its files are intact."""
    return _load_record(state, name, key) is not None


def _load_record(state: State, name: str, key: str) -> TaskRecord | None:
    try:
        saved = json.loads(state.record(name).read_bytes())
        record: TaskRecord = saved["record"]
        is_whole = fingerprint(record) == saved["digest"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return record if is_whole and record["key"] == key else None


def save_record(state: State, name: str, record: TaskRecord) -> None:
    """Publish a record with its own digest, since its counts go into the manifest."""
    saved = {"record": record, "digest": fingerprint(record)}
    with publish(state.record(name), state.scratch) as temporary:
        temporary.write_bytes(canonical_json(saved))


def files_of(records: Iterable[TaskRecord]) -> dict[str, Any]:
    """Return all files that records name, by path."""
    return {path: about for record in records for path, about in record["files"].items()}
