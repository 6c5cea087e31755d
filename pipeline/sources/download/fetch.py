"""Fetching one locked file: resumed where it was left, checked as a whole, then renamed.

A file under its name has the locked digest. A part lies in a scratch folder, named by path, size
and digest, so it is never continued with another version; one process at a time appends to it.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import FileIO
from pathlib import Path

from pipeline.config import Origin
from pipeline.core.digest import fingerprint
from pipeline.core.errors import MismatchError, OutputError
from pipeline.core.files import open_below, refuse_links, shared_folder, writing
from pipeline.sources.lock.checksum import Hasher, has_etag, write_note
from pipeline.storage import LOCK_AGAIN, Store, StoredFile, open_store

_BLOCK_BYTES = 1 << 20


def fetch(
    origin: Origin, folder: Path, revision: str | None, file: StoredFile, path: Path, scratch: Path
) -> None:
    """Put a locked file at `path`, on the file system of `scratch`. Raises: as `receive`."""
    if not path.exists():
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
    part = part_path(scratch, file)
    with _open_part(part) as out:
        if path.exists():  # Another process was faster.
            part.unlink()
            return
        digest = _complete(store, file, out, count)
        with _writing(path):
            os.fsync(out.fileno())
            refuse_links(shared_folder(path, scratch), path.parent)
            path.parent.mkdir(parents=True, exist_ok=True)
            if has_etag(file):
                write_note(path, file, digest, scratch)
            # The entry itself is not synced: if it is lost, the file is pulled again.
            part.rename(path)


def part_path(scratch: Path, file: StoredFile) -> Path:
    """Return where the bytes of a file are kept until it is complete. Pure."""
    return scratch / fingerprint([file.path, file.num_bytes, file.digest])


def _complete(store: Store, file: StoredFile, out: FileIO, count: Callable[[int], object]) -> str:
    """Append what is missing; return the digest of all."""
    hasher, num_bytes = Hasher(file), os.fstat(out.fileno()).st_size
    out.seek(0)
    while hasher.num_bytes < num_bytes:
        hasher.update(out.read(_BLOCK_BYTES))
    resumed = hasher.num_bytes

    def write(piece: bytes) -> None:
        with _writing(Path(out.name)):
            # An unbuffered file may write a part of what it is given.
            left = memoryview(piece)
            while left:
                left = left[out.write(left) :]
        hasher.update(piece)
        count(len(piece))

    # Only the store can say whether an ETag is still that of what came, even if all did.
    if resumed < file.num_bytes or has_etag(file):
        try:
            store.stream(file, resumed, write)
        except MismatchError:
            # Some of what came may be of the other version, and an ETag would not tell.
            out.truncate(0)
            raise
    expected = hasher.digest if has_etag(file) else file.digest
    try:
        hasher.check(file.path, expected, LOCK_AGAIN)
    except MismatchError:
        out.truncate(0)
        if not resumed:
            raise
        # What an earlier pull left may be what is wrong, as after a loss of power.
        return _complete(store, file, out, count)
    return hasher.digest


@contextmanager
def _open_part(part: Path) -> Iterator[FileIO]:
    """Open a part to read and to append, once no other process has it open."""
    while True:
        with _writing(part):
            opener = partial(open_below, part.parent.parent)
            out = FileIO(str(part), "a+", opener=opener)
        with out:
            # Released by the system when this process ends, however it ends.
            fcntl.flock(out, fcntl.LOCK_EX)
            if _is_at(out, part):
                yield out
                return


def _is_at(out: FileIO, part: Path) -> bool:
    """Return whether the process that had a part open has not renamed it."""
    try:
        return os.path.samestat(os.fstat(out.fileno()), part.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn an OSError of writing to `path` into an OutputError with a hint."""
    try:
        with writing(path):
            yield
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror}", "choose another --dest"
        ) from error
