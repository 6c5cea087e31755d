"""Origins: what is there, at one revision, and its bytes.

Enters: an `Origin` as declared. Leaves: its files, sorted by path, with size and the digest
that the origin itself gives; and the bytes of any of them, from any position on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFile:
    """One file at an origin."""

    path: str
    """Path in the data set, whole address, or path relative to the mixture; forward slashes."""
    num_bytes: int
    """Size as stored."""
    digest: str
    """`sha256:<hex>`, `git-sha1:<hex>` (of a git blob), or `etag:<as given>`."""
    num_rows: int | None = None
    """Documents in it, where the origin tells."""


class Store(Protocol):
    """An origin at one revision."""

    @property
    def revision(self) -> str | None:
        """The commit, where there is such a thing."""

    def list(self) -> tuple[StoredFile, ...]:
        """Return the files, sorted by path. Raises: InputError when they cannot be listed."""

    def receive(self, file: StoredFile, start: int, keep: Callable[[bytes], None]) -> None:
        """Hand on the bytes of a file from `start` to its end.

        After trouble only what is missing is asked for again, after the wait that the server asks
        for. Raises: InputError, naming the file, when they cannot be had or are of another version;
        MismatchError when what was handed on may be of another, too.
        """
