"""Values of a lock: per source its files, and everything else from outside that decides bytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pipeline.config import Origin
from pipeline.storage import StoredFile

PLACE: Final = ("path", "hub", "url", "revision", "files", "config", "split", "decode")
"""Keys of an origin that say which files there are, or what else they need from outside.

The others say how the files are read.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedTokenizer:
    """A tokenizer, pinned by its bytes."""

    name: str
    """As the mixture names it."""
    revision: str | None
    """The commit, for one from the Hub."""
    digest: str
    """sha256 of its `tokenizer.json`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedSource:
    """What a source's origin had."""

    origin: Origin
    """Where it was looked for, as `located` returns it."""
    revision: str | None
    """The commit, where there is such a thing."""
    files: tuple[StoredFile, ...]
    """Sorted by path."""
    tokenizer: LockedTokenizer | None = None
    """What decodes its rows, where they are ids."""

    @property
    def num_bytes(self) -> int:
        """The size of all files."""
        return sum(file.num_bytes for file in self.files)

    @property
    def num_rows(self) -> int | None:
        """Documents in all files, where the origin tells of each."""
        rows = [file.num_rows for file in self.files]
        return None if None in rows else sum(number for number in rows if number is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """What was found at all origins of a mixture."""

    name: str
    """Of the mixture."""
    tokenizer: LockedTokenizer
    """What turns text into tokens."""
    algorithms: Mapping[str, str]
    """Named algorithms that fix bytes, by what they do."""
    sources: Mapping[str, LockedSource]
    """By name, sorted."""


def located(origin: Origin) -> Origin:
    """Return what a lock depends on of an origin, all else as if nothing were said. Pure."""
    return Origin(**{name: getattr(origin, name) for name in PLACE})
