"""The file of a lock: sorted JSON, one line a file, grouped by folder, with a digest of its own.

Equal locks have equal bytes, and any other spelling is refused. 30,000 files take 3.5 MB.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pipeline.config import Origin, to_plain
from pipeline.core.digest import canonical_json, sha256_bytes
from pipeline.core.errors import InputError, MismatchError, OutputError
from pipeline.core.files import publish_beside, writing
from pipeline.core.json_record import from_json, key, parse_json, to_json
from pipeline.core.regular_file import read_file
from pipeline.sources.lock.lock import LOCATION_KEYS, Lock, LockedSource, LockedTokenizer
from pipeline.storage import StoredFile

FORMAT: Final = "ettin-lock-v1"
_FIRST_KEY: Final = b'{\n "algorithms": '
_START_BYTES: Final = 1 << 16
_FILE_KEYS: Final = ("num_bytes", "digest", "num_rows", "sha256")


@dataclass(frozen=True, kw_only=True, slots=True)
class _SourceRecord:
    origin: Mapping[str, Any] = key("from")
    revision: str | None
    decode: LockedTokenizer | None
    num_files: int
    num_bytes: int
    files: Mapping[str, Mapping[str, Any]]
    """By folder, with its slash, and name: size, digest, and rows and the sha256 of a pull where
    they are known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _LockRecord:
    """A lock as stored, without its digest."""

    format: str
    mixture: str
    tokenizer: LockedTokenizer
    algorithms: Mapping[str, str]
    sources: Mapping[str, _SourceRecord]


def default_lock_path(name: str) -> Path:
    """Return the path of the lock of a mixture unless another is named."""
    return Path("manifests") / f"{name}.lock.json"


def lock_bytes(lock: Lock) -> bytes:
    """Serialise a lock, with its digest. Pure."""
    record = _LockRecord(
        format=FORMAT,
        mixture=lock.name,
        tokenizer=lock.tokenizer,
        algorithms=lock.algorithms,
        sources={name: _source_record(source) for name, source in lock.sources.items()},
    )
    content = to_json(record)
    content["digest"] = sha256_bytes(canonical_json(content))
    return ("".join(_lines(content, "")) + "\n").encode()


def lock_digest(lock: Lock) -> str:
    """Return the sha256 of a lock as `lock` first writes it, without what pulls add. Pure."""
    sources = {
        name: replace(source, files=tuple(replace(file, sha256=None) for file in source.files))
        for name, source in lock.sources.items()
    }
    return sha256_bytes(lock_bytes(replace(lock, sources=sources)))


def check_replaceable(path: Path) -> None:
    """Insist that nothing but a lock, damaged or not, is at a path. Raises: OutputError."""
    if not path.exists():
        return
    start = b""
    if path.is_file():
        with writing(path), path.open("rb") as file:
            start = file.read(_START_BYTES)
    # Whatever of a lock is left begins with its first key, or still names its format.
    if not (start.startswith(_FIRST_KEY) or b'"format": "ettin-lock-' in start):
        raise OutputError(
            f"{path}: got something that is no lock, expected a lock to replace, or nothing",
            "name another file, or remove it",
        )


def write_lock(lock: Lock, path: Path) -> None:
    """Write a lock, whole or not at all.

    Raises: OutputError when it cannot be written, or would replace what is no lock.
    """
    check_replaceable(path)
    with publish_beside(path) as temporary:
        temporary.write_bytes(lock_bytes(lock))


def read_lock(path: Path) -> Lock:
    """Read a lock and check that it is whole.

    Raises: InputError when there is none, or it has another format or other keys; MismatchError
    when it is not what was written.
    """
    try:
        data = read_file(path)
    except OSError as error:
        raise InputError(
            f"{path}: got no file ({error.strerror}), expected a lock",
            "write it: ettin-data lock MIXTURE",
        ) from error
    changed = MismatchError(
        f"{path}: is damaged: its digest does not match its content",
        "restore the file, or lock again",
    )
    try:
        content = parse_json(data)
        format_ = content["format"]
        is_whole = content.pop("digest", None) == sha256_bytes(canonical_json(content))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise changed from error
    if format_ != FORMAT:
        raise InputError(
            f"{path}: got the format {format_!r}, expected {FORMAT}", "lock again with this version"
        )
    if not is_whole:
        raise changed
    try:
        record = from_json(_LockRecord, content)
        lock = Lock(
            name=record.mixture,
            tokenizer=record.tokenizer,
            algorithms=record.algorithms,
            sources={
                name: _read_source(source, f"sources.{name}.from")
                for name, source in record.sources.items()
            },
            path=path,
        )
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: {error}", "lock again with this version") from error
    if lock_bytes(lock) != data:
        raise changed
    return lock


def origin_record(origin: Origin) -> dict[str, Any]:
    """Return what a lock depends on of an origin, as JSON values. Pure."""
    declared = to_plain(origin)
    values = {name: declared.get(name) for name in LOCATION_KEYS}
    return {name: value for name, value in values.items() if value is not None}


def _source_record(source: LockedSource) -> _SourceRecord:
    folders: dict[str, dict[str, list[Any]]] = {}
    for file in source.files:
        name = file.path.rpartition("/")[2]
        # With its slash, so that the two together are the path, whatever that is.
        folder = folders.setdefault(file.path.removesuffix(name), {})
        known = [file.num_bytes, file.digest, file.num_rows, file.sha256]
        while known[-1] is None:
            known.pop()
        folder[name] = known
    return _SourceRecord(
        origin=origin_record(source.origin),
        revision=source.revision,
        decode=source.tokenizer,
        num_files=len(source.files),
        num_bytes=source.num_bytes,
        files=folders,
    )


def _lines(value: Any, indent: str) -> Iterator[str]:
    """Yield JSON in parts: a mapping with a line a key, sorted; anything else in one line."""
    if not isinstance(value, dict) or not value:
        yield json.dumps(value)
        return
    inner = f"{indent} "
    between = "{\n"
    for name in sorted(value):
        yield f"{between}{inner}{json.dumps(name)}: "
        yield from _lines(value[name], inner)
        between = ",\n"
    yield f"\n{indent}}}"


def _read_file(path: str, stored: Any) -> StoredFile:
    if not isinstance(stored, list):
        raise ValueError(f"{path}: got {stored!r}, expected a list of {', '.join(_FILE_KEYS)}")
    values = dict(zip(_FILE_KEYS, stored, strict=False))
    return from_json(StoredFile, {"path": path, **values}, path)


def _read_source(record: _SourceRecord, where: str) -> LockedSource:
    files = [
        _read_file(folder + name, stored)
        for folder, names in record.files.items()
        for name, stored in names.items()
    ]
    return LockedSource(
        origin=from_json(Origin, record.origin, where),
        revision=record.revision,
        files=tuple(sorted(files, key=lambda file: file.path)),
        tokenizer=record.decode,
    )
