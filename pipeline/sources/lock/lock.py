"""The values of a lock, and where a locked file lies."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pipeline.config import Origin
from pipeline.core.errors import InputError
from pipeline.core.json_record import key
from pipeline.core.shown import without_secrets
from pipeline.storage import StoredFile

LOCATION_KEYS: Final = ("path", "hub", "url", "revision", "files", "config", "split", "decode")
"""The keys of an origin that a lock depends on; the others say how the files are read."""
_COMMIT: Final = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedTokenizer:
    """A tokenizer, pinned by its bytes."""

    name: str
    """As the mixture names it."""
    revision: str | None
    """The commit, for one from the Hub."""
    digest: str = key("sha256")
    """Of its `tokenizer.json`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedSource:
    """The files of a source."""

    origin: Origin
    """As `location_of` returns it."""
    revision: str | None
    """The commit, on the Hub."""
    files: tuple[StoredFile, ...]
    """Sorted by path."""
    tokenizer: LockedTokenizer | None = None
    """What decodes its rows, where they are ids."""

    @property
    def num_bytes(self) -> int:
        return sum(file.num_bytes for file in self.files)

    @property
    def num_rows(self) -> int | None:
        """Documents in all files; None where the store does not know."""
        rows = [file.num_rows for file in self.files]
        return None if None in rows else sum(number for number in rows if number is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """The files of all sources of a mixture."""

    name: str
    """The mixture's."""
    tokenizer: LockedTokenizer
    algorithms: Mapping[str, str]
    """Named algorithms, by the place in the mixture that names them."""
    sources: Mapping[str, LockedSource]
    """By name, sorted."""
    path: Path | None = field(default=None, compare=False)
    """Where it was read from, if it was."""

    @property
    def where(self) -> str:
        """What errors call it."""
        return f"the lock of {self.name}" if self.path is None else str(self.path)


def location_of(origin: Origin, *, has_secrets: bool = False) -> Origin:
    """Return an origin reduced to `LOCATION_KEYS`, by default without secrets. Pure."""
    values = {name: getattr(origin, name) for name in LOCATION_KEYS}
    if origin.url is not None and not has_secrets:
        values["url"] = tuple(map(without_secrets, origin.url))
    return Origin(**values)


def locate(raw: Path, folder: Path, locked: LockedSource, file: StoredFile) -> Path:
    """Return the path of a file of a source: a local one where it is, any other below `raw`. Pure.

    That is `hub/ORG/NAME/COMMIT/path` or `<scheme>/<host>/path`, so whatever pulls the same file
    finds it. `raw`: the folder of pulled files. `folder`: the mixture's.

    Raises: InputError for a path that leads elsewhere or is that of another file, and for a
    revision that is no commit.
    """
    origin = locked.origin
    if origin.kind == "path":
        return folder / file.path
    if origin.kind == "hub":
        assert origin.hub is not None
        if locked.revision is None or not _COMMIT.fullmatch(locked.revision):
            raise InputError(
                f"hf://datasets/{origin.hub}: got the locked revision {locked.revision!r},"
                " expected a commit of 40 hex digits",
                "restore the lock file, or lock again",
            )
        parts = ["hub", *origin.hub.split("/"), locked.revision, *file.path.split("/")]
    else:
        scheme, _, rest = file.path.partition("://")
        host, *names = rest.split("/")
        # A login is no part of the path; in abfs://container@account, both are.
        host = without_secrets(f"{scheme}://{host}").partition("://")[2]
        parts = [scheme, host or "localhost", *names]
    # "a//b" and "a/./b" would be "a/b"; what is no address may have a slash left.
    if any(part in ("", ".", "..") or "/" in part or "\0" in part for part in parts):
        raise InputError(
            f"{file.path}: got a path with an empty part, . or .., expected one that can name a"
            " file",
            "leave it out with a narrower pattern",
        )
    return raw.joinpath(*parts)
