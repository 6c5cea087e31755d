"""The protocol of a store: the files of an origin at one revision, and their bytes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from pipeline.core.errors import InputError

PULL_AGAIN: Final = "pull the file again"
RESTORE: Final = "restore the file from where it came from"
LOCK_AGAIN: Final = "the file has changed upstream: lock again to accept it"


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


class Store(Protocol):
    """Files of one origin, at one revision."""

    @property
    def revision(self) -> str | None:
        """The commit, on the Hub."""

    def list(self) -> tuple[StoredFile, ...]:
        """Return the files, sorted by path. Raises: InputError when they cannot be listed."""

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
