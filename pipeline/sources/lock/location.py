"""Where a locked file lies: local ones where they are, all others in a folder of pulled files.

`hub/ORG/NAME/COMMIT/path` and `<scheme>/<host>/path`: whatever pulls the same file finds it.
"""

import re
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.sources.lock.entries import LockedSource
from pipeline.storage import StoredFile

_COMMIT = re.compile("[0-9a-f]{40}")


def locate(raw: Path, folder: Path, locked: LockedSource, file: StoredFile) -> Path:
    """Return the path of a file of a source. Pure.

    `raw`: the folder of pulled files. `folder`: the mixture's, which local paths are relative to.
    Raises: InputError for a name that would lie elsewhere, or where another one does, and for a
    revision that is no commit.
    """
    origin = locked.origin
    if origin.kind == "path":
        return folder / file.path
    if origin.kind == "hub":
        assert origin.hub is not None
        parts = ["hub", *origin.hub.split("/"), _commit(locked), *file.path.split("/")]
    else:
        scheme, _, rest = file.path.partition("://")
        host, *names = rest.split("/")
        # A password before the host is no part of the place.
        parts = [scheme, host.rpartition("@")[2] or "localhost", *names]
    # "a//b" and "a/./b" would be the place of "a/b"; what is no address may have a slash left.
    if any(part in ("", ".", "..") or "/" in part or "\0" in part for part in parts):
        raise InputError(
            f"{file.path}: got a path with an empty part, . or .., expected one that can name a"
            " file",
            "leave it out with a narrower pattern",
        )
    return raw.joinpath(*parts)


def _commit(locked: LockedSource) -> str:
    if locked.revision is None or not _COMMIT.fullmatch(locked.revision):
        raise InputError(
            f"hf://datasets/{locked.origin.hub}: got the locked revision {locked.revision!r},"
            " expected a commit of 40 hex digits",
            "take the lock from where it is kept, or lock again",
        )
    return locked.revision
