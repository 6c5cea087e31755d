"""The file of a lock: JSON, one line a file, grouped by folder, with a digest of its own.

Equal locks have equal bytes, and a file that is not spelled so is refused. Two locks are compared
well line by line: everything is sorted. A file takes some 120 bytes, 30,000 take 3.5 MB.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pipeline.config import DecodeSpec, Origin, to_plain
from pipeline.core.digest import canonical_json, sha256_bytes
from pipeline.core.errors import InputError, MismatchError
from pipeline.core.files import publish
from pipeline.sources.lock.entries import PLACE, Lock, LockedSource, LockedTokenizer
from pipeline.storage import StoredFile

FORMAT = "ettin-lock-v1"


def default_lock_path(name: str) -> Path:
    """Return where the lock of a mixture lies if nothing is said, from the current folder."""
    return Path("manifests") / f"{name}.lock.json"


def lock_bytes(lock: Lock) -> bytes:
    """Serialise a lock, its digest added. Pure."""
    content = {
        "format": FORMAT,
        "mixture": lock.name,
        "tokenizer": _spell_tokenizer(lock.tokenizer),
        "algorithms": dict(lock.algorithms),
        "sources": {name: _spell_source(source) for name, source in lock.sources.items()},
    }
    content["digest"] = sha256_bytes(canonical_json(content))
    return ("".join(_lines(content, "")) + "\n").encode()


def write_lock(lock: Lock, path: Path) -> None:
    """Write a lock, whole or not at all. Raises: OutputError when it cannot be written."""
    # What is left by one that was killed lies there, and is no lock.
    with publish(path, path.parent / ".partial") as temporary:
        temporary.write_bytes(lock_bytes(lock))


def read_lock(path: Path) -> Lock:
    """Read a lock and check that it is whole.

    Raises: InputError when there is none or of another format; MismatchError when it is not what
    was written.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: got no file ({error.strerror}), expected a lock",
            "write it: ettin-data lock MIXTURE",
        ) from error
    try:
        content = json.loads(data)
        format_, lock = content["format"], None
        if format_ == FORMAT:
            lock = _read(content)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        format_, lock = FORMAT, None
    if format_ != FORMAT:
        raise InputError(
            f"{path}: got the format {format_!r}, expected {FORMAT}", "lock again with this version"
        )
    if lock is None or lock_bytes(lock) != data:
        raise MismatchError(
            f"{path}: is not as it was written: its digest does not match its content",
            "take it from where it is kept, or lock again",
        )
    return lock


def spell_origin(origin: Origin) -> dict[str, Any]:
    """Return what a lock depends on of an origin, as JSON-able values. Pure."""
    values = {name: to_plain(getattr(origin, name)) for name in PLACE}
    return {name: value for name, value in values.items() if value is not None}


def _spell_tokenizer(tokenizer: LockedTokenizer) -> dict[str, Any]:
    return {
        "name": tokenizer.name,
        "revision": tokenizer.revision,
        "sha256": tokenizer.digest,
    }


def _spell_source(source: LockedSource) -> dict[str, Any]:
    folders: dict[str, dict[str, list[Any]]] = {}
    for file in source.files:
        name = file.path.rpartition("/")[2]
        # With its slash, so that the two together are the path, whatever that is.
        folder = file.path.removesuffix(name)
        about = [file.num_bytes, file.digest]
        folders.setdefault(folder, {})[name] = (
            about if file.num_rows is None else [*about, file.num_rows]
        )
    return {
        "from": spell_origin(source.origin),
        "revision": source.revision,
        "decode": None if source.tokenizer is None else _spell_tokenizer(source.tokenizer),
        "num_files": len(source.files),
        "num_bytes": source.num_bytes,
        "files": folders,
    }


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


def _read(content: dict[str, Any]) -> Lock:
    """Return what a file says. Raises: KeyError, TypeError, … where it is no lock."""
    return Lock(
        name=content["mixture"],
        tokenizer=_read_tokenizer(content["tokenizer"]),
        algorithms=dict(content["algorithms"]),
        sources={name: _read_source(content["sources"][name]) for name in content["sources"]},
    )


def _read_tokenizer(content: dict[str, Any]) -> LockedTokenizer:
    return LockedTokenizer(
        name=content["name"], revision=content["revision"], digest=content["sha256"]
    )


def _read_source(content: dict[str, Any]) -> LockedSource:
    declared = content["from"]
    decode = declared.get("decode")
    lists = {name: tuple(declared[name]) for name in ("path", "url", "files") if name in declared}
    origin = Origin(
        **{**declared, **lists, "decode": None if decode is None else DecodeSpec(**decode)}
    )
    tokenizer = content["decode"]
    return LockedSource(
        origin=origin,
        revision=content["revision"],
        files=tuple(_read_files(content["files"].items())),
        tokenizer=None if tokenizer is None else _read_tokenizer(tokenizer),
    )


def _read_files(folders: Iterable[tuple[str, dict[str, Any]]]) -> list[StoredFile]:
    files = [
        StoredFile(
            path=folder + name,
            num_bytes=about[0],
            digest=about[1],
            num_rows=about[2] if len(about) > 2 else None,
        )
        for folder, names in folders
        for name, about in names.items()
    ]
    return sorted(files, key=lambda file: file.path)
