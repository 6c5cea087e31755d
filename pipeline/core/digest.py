"""Digests of bytes and fingerprints of declarations, as lower-case sha256 hex.

A fingerprint is the digest of a declaration's canonical JSON (keys sorted, no spaces, ASCII).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.json_record import key
from pipeline.core.mirrored import here


def sha256_bytes(data: bytes | bytearray | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's bytes as hex, in constant memory."""
    with here(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FileDigest:
    """What pins a file to its bytes; those of equal bytes are equal, also of a subclass."""

    num_bytes: int = key("bytes")
    sha256: str

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FileDigest):
            return NotImplemented
        return (self.num_bytes, self.sha256) == (other.num_bytes, other.sha256)

    def __hash__(self) -> int:
        return hash((self.num_bytes, self.sha256))

    @classmethod
    def of(cls, path: Path) -> "FileDigest":
        return cls(num_bytes=here(path).stat().st_size, sha256=sha256_file(path))

    @classmethod
    def of_bytes(cls, data: bytes) -> "FileDigest":
        return cls(num_bytes=len(data), sha256=sha256_bytes(data))

    def matches(self, path: Path) -> bool:
        """Tell whether a path is a file of these bytes."""
        return (
            here(path).is_file()
            and path.stat().st_size == self.num_bytes
            and sha256_file(path) == self.sha256
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrustedDigest(FileDigest):
    """The digest of a file that this run has not read: a record says what its bytes were, and
    size, mtime and inode are those from when it was synced."""


def trusted_bytes(files: Mapping[str, FileDigest]) -> dict[str, int]:
    """Return the bytes of the files that were trusted and not read, by path."""
    return {path: file.num_bytes for path, file in files.items() if isinstance(file, TrustedDigest)}


def canonical_json(declaration: object) -> bytes:
    """Serialise a declaration of dicts, lists, strings, integers, booleans and None.

    Raises: TypeError for anything else, floats included, since they have no single spelling.
    """
    _refuse_unstable(declaration, "$")
    return json.dumps(declaration, sort_keys=True, separators=(",", ":")).encode()


def fingerprint(declaration: object) -> str:
    return sha256_bytes(canonical_json(declaration))


def _refuse_unstable(value: object, where: str) -> None:
    if value is None or isinstance(value, str | bool | int):
        return
    if isinstance(value, dict):
        for key, child in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{where}: got a key of type {type(key).__name__}, expected str")
            _refuse_unstable(child, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            _refuse_unstable(child, f"{where}[{index}]")
    else:
        raise TypeError(f"{where}: got {type(value).__name__}, which has no single stable spelling")
