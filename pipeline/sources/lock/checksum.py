"""The bytes of a locked file: whether they are those that the origin had when it was locked.

Three kinds of digest. `sha256` is of the bytes. `git-sha1` is of a git blob: the word, the size, a
zero and the bytes. An `etag` means nothing but to the server that gave it, so whoever pulls a file
by one keeps the sha256 of what came beside it, in `<name>.etag.json`.

Source of the digest of a blob: git, `Documentation/gitformat-*` and `git hash-object`.
"""

import hashlib
import json
from pathlib import Path

from pipeline.core.errors import MismatchError
from pipeline.core.files import publish
from pipeline.storage import StoredFile

_BLOCK_BYTES = 1 << 20
_PULL_AGAIN = "remove it and pull again"


class Hasher:
    """The digest of bytes that come in pieces, in the form that a locked file has it."""

    def __init__(self, file: StoredFile) -> None:
        """Begin; nothing has come yet."""
        self.num_bytes = 0
        self._file = file
        self._kind = file.digest.partition(":")[0]
        is_blob = self._kind == "git-sha1"
        self._hash = hashlib.sha1(b"blob %d\0" % file.num_bytes) if is_blob else hashlib.sha256()

    def update(self, piece: bytes) -> None:
        """Take the next bytes."""
        self._hash.update(piece)
        self.num_bytes += len(piece)

    @property
    def digest(self) -> str:
        """Of what came, `sha256:` or `git-sha1:`; the former where the lock has an ETag."""
        return f"{'git-sha1' if self._kind == 'git-sha1' else 'sha256'}:{self._hash.hexdigest()}"

    def check(self, where: str, expected: str, hint: str = _PULL_AGAIN) -> None:
        """Refuse what came unless it is all, and has the expected digest. Raises: MismatchError."""
        if self.num_bytes != self._file.num_bytes:
            raise MismatchError(
                f"{where}: has {self.num_bytes:,} bytes, the lock says {self._file.num_bytes:,}",
                hint,
            )
        if self.digest != expected:
            raise MismatchError(f"{where}: is {self.digest}, the lock says {expected}", hint)


def check_file(path: Path, file: StoredFile) -> None:
    """Read a file and insist that it is the one that was locked.

    Raises: MismatchError, naming it, when it is gone or another.
    """
    hasher, expected = Hasher(file), expected_digest(path, file)
    try:
        with path.open("rb") as opened:
            while block := opened.read(_BLOCK_BYTES):
                hasher.update(block)
    except OSError as error:
        raise MismatchError(f"{path}: cannot be read: {error.strerror}", "pull again") from error
    hasher.check(str(path), expected)


def expected_digest(path: Path, file: StoredFile) -> str:
    """Return what `Hasher.digest` must be for the file that was locked and lies at `path`.

    Raises: MismatchError when it was locked by an ETag, and none of that kind was pulled to there.
    """
    if not is_by_etag(file):
        return file.digest
    note = note_path(path)
    try:
        told = json.loads(note.read_bytes())
        etag, digest = str(told["etag"]), str(told["sha256"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise MismatchError(
            f"{path}: got no {note.name} beside it, expected the sha256 of what was pulled, as the "
            "lock has but an ETag",
            _PULL_AGAIN,
        ) from error
    if f"etag:{etag}" != file.digest:
        raise MismatchError(
            f"{path}: was pulled as the version {etag}, the lock says {file.digest[5:]}",
            _PULL_AGAIN,
        )
    return f"sha256:{digest}"


def is_by_etag(file: StoredFile) -> bool:
    """Return whether a file was locked by what no digest of its bytes can be compared with."""
    return file.digest.startswith("etag:")


def note_path(path: Path) -> Path:
    """Return where the sha256 of a file that was locked by an ETag is kept."""
    return path.with_name(f"{path.name}.etag.json")


def write_note(path: Path, file: StoredFile, digest: str, scratch: Path) -> None:
    """Keep the sha256 of what came for a file that was locked by an ETag."""
    told = {"etag": file.digest.removeprefix("etag:"), "sha256": digest.removeprefix("sha256:")}
    with publish(note_path(path), scratch) as temporary:
        temporary.write_text(json.dumps(told) + "\n")
