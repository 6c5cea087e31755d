"""The sha256 of files that were locked by an ETag: found by the first pull, kept in the lock.

Every later pull and build, here or elsewhere, compares with it; locking again keeps it for files
that have not changed.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pipeline.core.errors import MismatchError
from pipeline.sources.lock.checksum import has_etag, read_note
from pipeline.sources.lock.lock import Lock, locate
from pipeline.sources.lock.lock_file import read_lock, write_lock
from pipeline.storage import LOCK_AGAIN, StoredFile

Pulled = Mapping[tuple[str, str], str]
"""sha256 of files by path and ETag."""


def pulled_digests(lock: Lock, folder: Path, raw: Path) -> Pulled:
    """Return what pulls into `raw` noted of the files that the lock has no sha256 of."""
    found = {}
    for source in lock.sources.values():
        for file in source.files:
            if has_etag(file) and file.sha256 is None:
                note = read_note(locate(raw, folder, source, file))
                if note is not None and note.etag == file.digest:
                    found[file.path, file.digest] = note.sha256.removeprefix("sha256:")
    return found


def with_digests(lock: Lock, found: Pulled) -> Lock:
    """Return a lock with the sha256 of files that it has none of. Raises: MismatchError."""

    def add(file: StoredFile) -> StoredFile:
        sha256 = found.get((file.path, file.digest), file.sha256)
        if file.sha256 not in (None, sha256):
            raise MismatchError(
                f"{file.path}: is sha256:{sha256}, the lock says sha256:{file.sha256}", LOCK_AGAIN
            )
        return file if sha256 == file.sha256 else replace(file, sha256=sha256)

    sources = {
        name: replace(source, files=tuple(map(add, source.files)))
        for name, source in lock.sources.items()
    }
    return replace(lock, sources=sources)


def known_digests(lock: Lock) -> Pulled:
    """Return each sha256 that a lock has beside an ETag."""
    return {
        (file.path, file.digest): file.sha256
        for source in lock.sources.values()
        for file in source.files
        if file.sha256 is not None
    }


def record_digests(path: Path, found: Pulled) -> None:
    """Add what a pull found to the lock at a path, which may have changed since it was read.

    Raises: MismatchError when it has another sha256; OutputError when it cannot be written.
    """
    if not found:
        return
    lock = read_lock(path)
    recorded = with_digests(lock, found)
    if recorded != lock:
        write_lock(recorded, path)
