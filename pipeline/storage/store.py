"""The protocol of a store: the files of an origin at one revision, and their bytes."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from pipeline.core.errors import InputError

RESTORE: Final = "restore the file from where it came from"
LOCK_AGAIN: Final = "the file has changed upstream: lock again to accept it"

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|git-sha1:[0-9a-f]{40}|etag:.+", re.DOTALL)
_LARGEST_SIZE: Final = 2**63 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFile:
    """One file in a store."""

    path: str
    """Path in the data set, whole address, or path relative to the mixture; forward slashes."""
    num_bytes: int
    digest: str
    """`sha256:<hex>`, `git-sha1:<hex>` (of a git blob), or `etag:<as given>`."""
    num_rows: int | None = None
    """Documents in it, where the store knows."""
    sha256: str | None = None
    """Hex, as the first pull found it, where the digest is an ETag."""

    def __post_init__(self) -> None:
        """Refuse what a broken store or lock says. Raises: ValueError."""
        if not (_is_count(self.num_bytes) and (self.num_rows is None or _is_count(self.num_rows))):
            raise ValueError(
                f"{self.path}: got {self.num_bytes!r} bytes and {self.num_rows!r} rows, expected"
                " integers from 0"
            )
        if not (isinstance(self.digest, str) and _DIGEST.fullmatch(self.digest)):
            raise ValueError(
                f"{self.path}: got the digest {self.digest!r}, expected sha256:, git-sha1: or etag:"
            )
        if self.sha256 is not None and not is_sha256(self.sha256):
            raise ValueError(f"{self.path}: got the sha256 {self.sha256!r}, expected 64 hex digits")


def restore_hint(path: str) -> str:
    """Return what to do about a damaged file, by its path or address as declared."""
    return "pull the file again" if "://" in path else RESTORE


def is_sha256(value: object) -> bool:
    """Return whether a value is 64 lower-case hex digits."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_SIZE


class Store(Protocol):
    """Files of one origin, at one revision."""

    @property
    def revision(self) -> str | None:
        """The commit, on the Hub."""

    def list(self) -> tuple[StoredFile, ...]:
        """Return the files, sorted by path. Raises: InputError when they cannot be listed."""

    def has(self, path: str) -> bool:
        """Return whether there is a file of this path, as `StoredFile` has it, listed or not."""

    def stream(self, file: StoredFile, start: int, write: Callable[[bytes], None]) -> None:
        """Write the bytes of a file from `start` to its end, each once.

        Raises: InputError, naming the file, when it cannot be read or has changed; MismatchError
        when what was already written may be of another version.
        """


def unreadable(where: str, error: OSError) -> InputError:
    """Return the error for a local file that the system cannot read."""
    return InputError(
        f"{where}: cannot be read: {error.strerror}", "make the file readable, or restore it"
    )
