"""Fetching one locked file: resumed where it was left, checked as a whole, then renamed.

Enters: an open origin and what was locked of a file. Leaves: the file under its name, or an error
and what came of it, to go on from. Invariant: what stands under the name has the locked digest.

What came lies in a scratch folder under a name made of path, size and digest, so what is left of
one version is never continued with another. It is only ever appended to, by one process at a time.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from pipeline.config import Origin
from pipeline.core.digest import fingerprint
from pipeline.core.errors import MismatchError, OutputError
from pipeline.core.files import writing
from pipeline.sources.lock.checksum import Hasher, is_by_etag, write_note
from pipeline.storage import Store, StoredFile, open_store

_BLOCK_BYTES = 1 << 20


def fetch(
    origin: Origin, folder: Path, revision: str | None, file: StoredFile, path: Path, scratch: Path
) -> None:
    """Put one file of an origin, at a locked revision, at `path`; nothing if it lies there.

    `scratch` must be on the same file system. Raises: as `receive`.
    """
    if not path.exists():
        receive(open_store(origin, folder, revision), file, path, scratch)


def receive(
    opened: Store,
    file: StoredFile,
    path: Path,
    scratch: Path,
    came: Callable[[int], None] = lambda num_bytes: None,
) -> None:
    """Put one file at `path`; nothing if it lies there.

    `came` is told how many bytes each piece has.
    Raises: InputError when the file cannot be had; MismatchError when it is not as it was locked;
    OutputError when it cannot be written.
    """
    part = part_path(scratch, file)
    with _hold(part) as out:
        if path.exists():  # Somebody else was faster.
            part.unlink()
            return
        digest = _complete(opened, file, out, came)
        with _writing(path):
            os.fsync(out.fileno())
            path.parent.mkdir(parents=True, exist_ok=True)
            if is_by_etag(file):
                write_note(path, file, digest, scratch)
            # The entry itself is not synced: if it is lost, the file is pulled again.
            part.rename(path)


def part_path(scratch: Path, file: StoredFile) -> Path:
    """Return where what came of a file is kept. Pure."""
    return scratch / fingerprint([file.path, file.num_bytes, file.digest])


def _complete(opened: Store, file: StoredFile, out: FileIO, came: Callable[[int], None]) -> str:
    """Append what is missing; return the digest of all. Raises: MismatchError for another file."""
    hasher = _hash(out, file)
    resumed = hasher.num_bytes

    def keep(piece: bytes) -> None:
        with _writing(Path(out.name)):
            # A file that has no buffer may take a part of what it is given.
            left = memoryview(piece)
            while left:
                left = left[out.write(left) :]
        hasher.update(piece)
        came(len(piece))

    # Of an ETag only the origin can say whether it still stands for what came, even if all did.
    if resumed < file.num_bytes or is_by_etag(file):
        try:
            opened.stream(file, resumed, keep)
        except MismatchError:
            # Some of what came may be of the other version, and an ETag would not tell.
            out.truncate(0)
            raise
    expected = hasher.digest if is_by_etag(file) else file.digest
    try:
        hasher.check(file.path, expected, "the file has changed upstream: lock again")
    except MismatchError:
        out.truncate(0)
        if not resumed:
            raise
        # What was left by an earlier pull may be what is wrong, as after a loss of power.
        return _complete(opened, file, out, came)
    return hasher.digest


def _hash(out: FileIO, file: StoredFile) -> Hasher:
    """Hash what came before."""
    hasher, there = Hasher(file), os.fstat(out.fileno()).st_size
    out.seek(0)
    while hasher.num_bytes < there:
        hasher.update(out.read(_BLOCK_BYTES))
    return hasher


@contextmanager
def _hold(part: Path) -> Iterator[FileIO]:
    """Open what came of a file, to read and to append, once no other process has it."""
    while True:
        with _writing(part):
            part.parent.mkdir(parents=True, exist_ok=True)
            out = part.open("a+b", buffering=0)
        with out:
            # Released by the system when this process ends, however it ends.
            fcntl.flock(out, fcntl.LOCK_EX)
            if _is_named(out, part):
                yield out
                return


def _is_named(out: FileIO, part: Path) -> bool:
    """Tell whether whoever held it before has left it here, and not renamed it."""
    try:
        return os.path.samestat(os.fstat(out.fileno()), part.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Say of a disk that cannot be written, whatever its trouble, what can be done.

    Raises: OutputError.
    """
    try:
        with writing(path):
            yield
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror}", "choose another --dest"
        ) from error
