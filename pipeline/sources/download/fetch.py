"""Fetching one locked file: resumed where it was left, checked as a whole, then renamed.

A file under its name has the locked digest; `part_file` keeps what has come of it until then.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pipeline.config import Origin
from pipeline.core.errors import MismatchError
from pipeline.core.files import refuse_links, shared_folder
from pipeline.core.mirrored import here, mirror_of, published
from pipeline.sources.download.part_file import Part, explained, open_part, part_path
from pipeline.sources.lock.checksum import Hasher, has_etag, locked_digest, write_note
from pipeline.storage import LOCK_AGAIN, Store, StoredFile, open_store


def fetch(
    origin: Origin, folder: Path, revision: str | None, file: StoredFile, path: Path, scratch: Path
) -> None:
    """Put a locked file at `path`, on the file system of `scratch`. Raises: as `receive`."""
    if not here(path).exists():
        receive(open_store(origin, folder, revision), file, path, scratch)


def receive(
    store: Store,
    file: StoredFile,
    path: Path,
    scratch: Path,
    count: Callable[[int], object] = bool,
) -> None:
    """Put one file at `path`, unless it is there; `count` is called with the size of each piece.

    Raises: InputError when the file cannot be read; MismatchError when it is not as locked;
    OutputError when it cannot be written.
    """
    with open_part(part_path(scratch, file), file) as part:
        if path.exists():  # Another process was faster.
            part.remove()
            return
        digest = _complete(store, file, part, count)
        with explained(path):
            part.sync()
            refuse_links(shared_folder(path, scratch), path.parent)
            path.parent.mkdir(parents=True, exist_ok=True)
            if has_etag(file):
                write_note(path, file, digest, scratch)
            # The entry itself is not synced: if it is lost, the file is pulled again.
            part.move(path)
        published(path)
        if mirror_of(path) is not None:
            # There need not be room for all of them.
            path.unlink(missing_ok=True)


def _complete(store: Store, file: StoredFile, part: Part, count: Callable[[int], object]) -> str:
    """Append what is missing; return the digest of all."""
    hasher = Hasher(file)
    part.read(hasher.update)
    resumed = hasher.num_bytes

    def write(piece: bytes) -> None:
        part.write(piece)
        hasher.update(piece)
        count(len(piece))

    # Only the store can say whether an ETag is still that of what came, even if all did.
    if resumed < file.num_bytes or has_etag(file):
        try:
            store.stream(file, resumed, write)
        except MismatchError:
            # Some of what came may be of the other version, and an ETag would not tell.
            part.clear()
            raise
        except BaseException:
            with suppress(OSError):  # What is not logged comes again.
                part.sync()
            raise
    try:
        hasher.check(file.path, locked_digest(file) or hasher.digest, LOCK_AGAIN)
    except MismatchError:
        part.clear()
        if not resumed:
            raise
        # What an earlier pull left may be what is wrong, as after a loss of power.
        return _complete(store, file, part, count)
    return hasher.digest
