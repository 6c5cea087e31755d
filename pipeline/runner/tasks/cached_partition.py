"""Cached partition: the chunks of a partition, from the cache and into it.

The key has all that decides the bytes, the digests of the input files included, and neither the
names of mixture and source nor the package's version.
"""

import logging
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from pipeline.config import to_plain
from pipeline.core.digest import FileDigest, fingerprint, sha256_file
from pipeline.core.errors import MismatchError, NetworkError, OutputError, PipelineError
from pipeline.core.files import publish
from pipeline.core.json_record import from_json, to_json
from pipeline.dataset import State, dropped_file
from pipeline.runner.stored_chunk_cache import open_chunk_cache
from pipeline.runner.task_cache import PartitionOutput
from pipeline.runner.tasks.partition_task import PartitionTask
from pipeline.runner.tasks.read_documents import Input, mark_unread
from pipeline.sources import check_file

_LOG = logging.getLogger(__name__)
PARTITION: Final = "partition-v1"
"""The way from files and options to the files of a partition. Whoever changes a byte renames it."""
# They read documents, encode what the kernel does not, and pack files.
_LIBRARIES: Final = ("orjson", "pyarrow", "tokenizers", "zstandard")
_SHA256: Final = "sha256:"


def take_partition(task: PartitionTask, state: State) -> PartitionOutput | None:
    """Take what a task would make from the cache; return its record, None where it is not there."""
    if task.cache is None:
        return None
    digests = [_known_digest(one) for one in task.inputs]
    known = [one for one in digests if one is not None]
    if len(known) < len(digests):
        return None
    state.scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=state.scratch) as folder:
        key = partition_key(task, known)
        entry = open_chunk_cache(task.cache).take(key, Path(folder, "taken"))
        if entry is None:
            return None
        places, names = _places(task), {name.partition("/")[0] for name in entry.files}
        try:
            record = from_json(PartitionOutput, {**entry.content, "files": {}})
            if not names <= places.keys():
                raise ValueError("got files that no partition has")
        except (ValueError, TypeError) as error:
            _LOG.warning("cache: %s: is no partition: %s", key, error)
            return None
        for name in sorted(names):
            with publish(state.out / places[name], state.scratch, syncs=False) as temporary:
                Path(folder, "taken", name).rename(temporary)
    return _adapted(task, record, _renamed(entry.files, places))


def put_partition(task: PartitionTask, record: PartitionOutput, state: State) -> None:
    """Put what a task made into the cache; where that fails, say so once in a build."""
    if task.cache is None or state.cache_fails.exists():
        return
    names = {place: name for name, place in _places(task).items()}
    files = {
        name: (state.out / path, file)
        for (path, file), name in zip(
            record.files.items(), _renamed(record.files, names), strict=True
        )
    }
    key = partition_key(task, [one.sha256 for one in record.inputs])
    about = f"{task.source}/{task.partition}, {task.chunk.algorithm} at {task.chunk.size}"
    try:
        open_chunk_cache(task.cache).put(key, about, to_json(replace(record, files={})), files)
    except (OutputError, NetworkError, OSError) as error:
        with suppress(OSError):
            state.cache_fails.touch(exist_ok=False)
            _LOG.warning("cache: %s; the build goes on without putting more there", _first(error))


def partition_key(task: PartitionTask, digests: Sequence[str]) -> str:
    """Return the fingerprint of all that decides what a task makes; digests: of its files."""
    return fingerprint(_declaration(task, digests))


def _declaration(task: PartitionTask, digests: Sequence[str]) -> dict[str, object]:
    repeated, taken = task.load_repeats()
    dropped = None
    if task.keep_dropped is not None:
        # Which are kept depends on these, and lines may name the file.
        names = [[one.file.partition, one.file.declared] for one in task.inputs]
        dropped = [to_plain(task.keep_dropped), task.source, names]
    return {
        "algorithm": PARTITION,
        "libraries": _libraries(),
        "inputs": [_declare(*one) for one in zip(task.inputs, digests, strict=True)],
        "tokenizer": [task.tokenizer_digest, task.tokenizer.add_prefix_space],
        "chunk": to_plain(task.chunk),
        "shards": to_plain(task.shards),
        "skips_bad": task.skips_bad,
        "keep_dropped": dropped,
        "saves_digests": task.saves_digests,
        "holdout": task.holdout and to_plain(task.holdout.chunk),
        "repeated_ids": sorted(repeated),
        "taken_ids": sorted(taken),
    }


def _declare(input_: Input, sha256: str) -> dict[str, object]:
    """Return all that decides the documents of a file, its bytes included."""
    origin, decoding = input_.origin, input_.decoding
    makes_ids = origin.id is None or input_.file.is_one_document
    return {
        "sha256": sha256,
        "kind": input_.file.kind,
        "fields": [origin.text, origin.id],
        "named": input_.file.partition if makes_ids else None,
        "decoder": decoding and [decoding.tokenizer.stem, decoding.cleans_up],
        "max_bad": to_plain(input_.max_bad),
        "max_document_bytes": input_.max_document_bytes,
        "takes_empty": input_.takes_empty,
        "filters": [to_plain(one) for one in input_.filters],
        "filters_made_of": dict(input_.filters_made_of),
        "drops": input_.drops and [input_.drops.digest, list(input_.drops.reasons)],
    }


@cache
def _libraries() -> dict[str, str]:
    versions = {name: metadata.version(name) for name in _LIBRARIES}
    return {**versions, "unicode": unicodedata.unidata_version}


def _known_digest(input_: Input) -> str | None:
    """Return the sha256 of a file before it is read; None where that is known afterwards alone.

    Of a pulled file the lock says it; one of the user's own is read.
    """
    locked, path = input_.locked, input_.file.path
    if input_.read_before is not None:
        return input_.read_before
    if locked is not None and input_.origin.kind != "path":
        by_lock = locked.file.digest
        if by_lock.startswith(_SHA256):
            return by_lock.removeprefix(_SHA256)
        if locked.file.sha256 is not None or not locked.is_kept:
            return locked.file.sha256
    if not path.is_file():
        return None
    if locked is not None:
        with suppress(MismatchError):
            check_file(path, locked.file, is_local=input_.origin.kind == "path")
            return sha256_file(path)
        # What reads it says what is wrong.
        return None
    return sha256_file(path)


def _places(task: PartitionTask) -> dict[str, str]:
    """Return where what a task makes lies, relative to the output, by name in the cache."""
    return {
        "shards": task.folder,
        "dropped.jsonl.zst": dropped_file(task.source, task.partition),
        "digests.npy": State.digests(task.folder),
        **({"holdout": task.holdout.folder} if task.holdout else {}),
    }


def _renamed(files: Mapping[str, FileDigest], names: Mapping[str, str]) -> dict[str, FileDigest]:
    """Return files by other paths; names: of the files, or of the folders that they are in."""
    renamed = {}
    for path, file in files.items():
        folder, _, name = path.rpartition("/")
        renamed[names[path] if path in names else f"{names[folder]}/{name}"] = file
    return renamed


def _adapted(
    task: PartitionTask, record: PartitionOutput, files: Mapping[str, FileDigest]
) -> PartitionOutput:
    """Return the record of a partition as of this task, whose names may be others."""
    first, *more = (
        mark_unread(one, replace(read, path=one.file.declared, locked=one.locked_digest))
        for one, read in zip(task.inputs, record.inputs, strict=True)
    )
    return replace(
        record,
        task=task.name,
        key=task.key,
        folder=task.folder,
        partition=task.partition,
        input=first,
        more_inputs=tuple(more),
        files=dict(files),
    )


def _first(error: Exception) -> str:
    return error.message if isinstance(error, PipelineError) else str(error)
