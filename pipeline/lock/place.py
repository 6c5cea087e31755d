"""Where a locked file lies: local ones where they are, all others in a folder of pulled files.

`hub/ORG/NAME/COMMIT/path` and `<scheme>/<host>/path`: whatever pulls the same file finds it.
"""

from pathlib import Path

from pipeline.errors import InputError
from pipeline.lock.values import LockedSource
from pipeline.sources.origin import OriginFile


def place(raw: Path, folder: Path, locked: LockedSource, file: OriginFile) -> Path:
    """Return the path of a file of a source. Pure.

    `raw`: the folder of pulled files. `folder`: the mixture's, which local paths are relative to.
    Raises: InputError for a name that would lie elsewhere, or where another one does.
    """
    origin = locked.origin
    if origin.kind == "path":
        return folder / file.path
    if origin.kind == "hub":
        assert origin.hub is not None
        assert locked.revision is not None
        parts = ["hub", *origin.hub.split("/"), locked.revision, *file.path.split("/")]
    else:
        scheme, _, rest = file.path.partition("://")
        host, *names = rest.split("/")
        # A password before the host is no part of the place.
        parts = [scheme, host.rpartition("@")[2] or "localhost", *names]
    # "a//b" and "a/./b" would be the place of "a/b".
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise InputError(
            f"{file.path}: got a path with an empty part, . or .., expected one that can name a"
            " file",
            "leave it out with a narrower pattern",
        )
    return raw.joinpath(*parts)
