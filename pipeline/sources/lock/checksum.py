"""Whether the bytes of a file are those that were locked.

A digest is the sha256 of the bytes, the `git-sha1` of a blob (the word, the size, a zero, the
bytes), or an `etag`, which only its server can check: the first pull of such a file notes its
sha256 beside it, in `<name>.etag.json`, and in the lock, which every later read is compared with.
Source: git, `Documentation/gitformat-*` and `git hash-object`.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.core.errors import MismatchError
from pipeline.core.files import publish
from pipeline.core.json_record import parse_json
from pipeline.core.mirrored import here
from pipeline.core.regular_file import read_file
from pipeline.storage import StoredFile, is_sha256

REMOVE: Final = "remove it and pull again"
RESTORE_LOCKED: Final = "restore the locked file, or lock again"
_BLOCK_BYTES = 1 << 20


class Hasher:
    """The digest of bytes that come in pieces, of the kind that a locked file has."""

    def __init__(self, file: StoredFile) -> None:
        self.num_bytes = 0
        self._file = file
        # Of a file with an ETag, the sha256 is kept.
        is_blob = file.digest.startswith("git-sha1:")
        self._kind = "git-sha1" if is_blob else "sha256"
        self._hash = hashlib.sha1(b"blob %d\0" % file.num_bytes) if is_blob else hashlib.sha256()

    def update(self, piece: bytes) -> None:
        self._hash.update(piece)
        self.num_bytes += len(piece)

    @property
    def digest(self) -> str:
        """Of the bytes so far, as `sha256:` or `git-sha1:`."""
        return f"{self._kind}:{self._hash.hexdigest()}"

    def check(self, where: str, expected: str, hint: str = REMOVE) -> None:
        """Insist that all bytes came, and on their digest. Raises: MismatchError."""
        check_size(where, self.num_bytes, self._file, hint)
        if self.digest != expected:
            raise MismatchError(f"{where}: is {self.digest}, the lock says {expected}", hint)


def check_size(where: str, num_bytes: int, file: StoredFile, hint: str) -> None:
    """Insist on the locked size. Raises: MismatchError."""
    if num_bytes != file.num_bytes:
        raise MismatchError(
            f"{where}: has {num_bytes:,} bytes, the lock says {file.num_bytes:,}", hint
        )


def check_file(path: Path, file: StoredFile, *, is_local: bool = False) -> None:
    """Read a file, pulled or one of the user's own.

    Raises: MismatchError when it is missing or has not the locked digest.
    """
    hasher, expected = Hasher(file), expected_digest(path, file)
    hint = RESTORE_LOCKED if is_local else REMOVE
    try:
        with here(path).open("rb") as opened:
            while block := opened.read(_BLOCK_BYTES):
                hasher.update(block)
    except OSError as error:
        raise MismatchError(f"{path}: cannot be read: {error.strerror}", hint) from error
    hasher.check(str(path), expected, hint)


def expected_digest(path: Path, file: StoredFile) -> str:
    """Return what `Hasher.digest` must be for the locked file at `path`.

    Raises: MismatchError when it was locked by an ETag and pulled as another version, or when
    neither the lock nor a note beside it has its sha256.
    """
    if not has_etag(file):
        return file.digest
    note, locked = read_note(path), locked_digest(file)
    if note is None and locked is None:
        raise MismatchError(
            f"{path}: got no {note_path(path).name} beside it, expected the sha256 of the pulled"
            " file: the lock has only its ETag",
            REMOVE,
        )
    if note is not None and note.etag != file.digest:
        raise MismatchError(
            f"{path}: was pulled as the version {note.etag[5:]}, the lock says {file.digest[5:]}",
            REMOVE,
        )
    if note is not None and locked not in (None, note.sha256):
        raise MismatchError(f"{path}: was pulled as {note.sha256}, the lock says {locked}", REMOVE)
    return locked or (note.sha256 if note else "")


def locked_digest(file: StoredFile) -> str | None:
    """Return what `Hasher.digest` must be by the lock alone; None until a first pull."""
    if not has_etag(file):
        return file.digest
    return None if file.sha256 is None else f"sha256:{file.sha256}"


def has_etag(file: StoredFile) -> bool:
    """Return whether a file was locked by an ETag, which its bytes cannot be compared with."""
    return file.digest.startswith("etag:")


def note_path(path: Path) -> Path:
    """Return where the sha256 of a file that was locked by an ETag is kept."""
    return path.with_name(f"{path.name}.etag.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """What a pull found of a file that was locked by an ETag."""

    etag: str
    """As `StoredFile.digest`."""
    sha256: str
    """As `Hasher.digest`."""


def read_note(path: Path) -> Note | None:
    """Return the note beside a pulled file; None where there is none, or a damaged one."""
    try:
        content = parse_json(read_file(note_path(path)))
        etag, sha256 = content["etag"], content["sha256"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return Note(etag=f"etag:{etag}", sha256=f"sha256:{sha256}") if is_sha256(sha256) else None


def write_note(path: Path, file: StoredFile, digest: str, scratch: Path) -> None:
    content = {"etag": file.digest.removeprefix("etag:"), "sha256": digest.removeprefix("sha256:")}
    with publish(note_path(path), scratch) as temporary:
        temporary.write_text(json.dumps(content) + "\n")
