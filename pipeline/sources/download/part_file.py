"""What has come of a file so far, as a part in a scratch folder that a later pull continues.

A part is named by path, size and digest of its file, so it is never continued with another version;
one process at a time appends to it. Beside it lies a log: a line a block, with its length and its
sha256, written after the block has reached the disk. After a loss of power, when a file may have
its length but not its bytes, the log proves which blocks hold what came.
"""

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from io import FileIO
from pathlib import Path
from typing import Final

from pipeline.core.digest import fingerprint
from pipeline.core.errors import OutputError
from pipeline.core.files import open_below, writing
from pipeline.sources.lock.checksum import has_etag
from pipeline.storage import StoredFile

# Each costs two syncs of a few milliseconds; less than one is fetched again after a kill.
_BLOCK_BYTES: Final = 8 << 20
_READ_BYTES: Final = 1 << 20
_LINE: Final = re.compile(rb"(\d{1,18}) ([0-9a-f]{64})\n")


def part_path(scratch: Path, file: StoredFile) -> Path:
    """Return where the bytes of a file are kept until it is complete. Pure."""
    return scratch / fingerprint([file.path, file.num_bytes, file.digest])


def log_path(part: Path) -> Path:
    """Return where the log of a part is kept. Pure."""
    return part.with_name(f"{part.name}.blocks")


def num_bytes_left(part: Path, file: StoredFile) -> int:
    """Return how much a pull can continue from, by the sizes alone."""
    try:
        num_bytes = part.stat().st_size
    except OSError:
        return 0
    if has_etag(file):
        num_bytes = min(num_bytes, sum(length for length, _ in _logged(part)))
    # A part that is longer than the file is of no use.
    return num_bytes if num_bytes <= file.num_bytes else 0


class Part:
    """An open part, to which this process alone appends."""

    def __init__(self, path: Path, out: FileIO, file: StoredFile) -> None:
        self.path, self._out, self._file = path, out, file
        # The digest of any other file is in the lock, and is compared in the end.
        self._log = _open(log_path(path)) if has_etag(file) else None
        self._block, self._block_bytes = sha256(), 0

    def read(self, update: Callable[[bytes], object]) -> None:
        """Read what an earlier pull left; of a file with an ETag only what the log proves."""
        if self._log is None:
            left = os.fstat(self._out.fileno()).st_size
            self._out.seek(0)
            while left > 0 and (piece := self._out.read(_READ_BYTES)):
                update(piece)
                left -= len(piece)
            return
        proven, lines = 0, b""
        num_bytes = min(os.fstat(self._out.fileno()).st_size, self._file.num_bytes)
        self._out.seek(0)
        for length, digest in _logged(self.path):
            # A block is read twice, so that nothing unproven is passed on; it is in the cache.
            if proven + length > num_bytes or _digest(self._out, length) != digest:
                break
            self._out.seek(proven)
            for position in range(0, length, _READ_BYTES):
                update(self._out.read(min(_READ_BYTES, length - position)))
            proven += length
            lines += _line(length, digest)
        with explained(self.path):
            self._out.truncate(proven)
            self._log.truncate(len(lines))

    def write(self, piece: bytes) -> None:
        """Append a piece. Raises: OutputError."""
        with explained(self.path):
            _write_all(self._out, piece)
            if self._log is None:
                return
            self._block.update(piece)
            self._block_bytes += len(piece)
            if self._block_bytes >= _BLOCK_BYTES:
                self.sync()

    def sync(self) -> None:
        """Let all that came reach the disk, and then the log."""
        os.fsync(self._out.fileno())
        if self._log is not None and self._block_bytes:
            _write_all(self._log, _line(self._block_bytes, self._block.hexdigest()))
            os.fsync(self._log.fileno())
        self._block, self._block_bytes = sha256(), 0

    def clear(self) -> None:
        """Forget all that came."""
        if self._log is not None:
            self._log.truncate(0)
        self._out.truncate(0)
        self._block, self._block_bytes = sha256(), 0

    def move(self, path: Path) -> None:
        """Rename it; the log goes first, since what is at its own path then is another's part."""
        log_path(self.path).unlink(missing_ok=True)
        self.path.rename(path)

    def remove(self) -> None:
        log_path(self.path).unlink(missing_ok=True)
        self.path.unlink()

    def close(self) -> None:
        if self._log is not None:
            self._log.close()


@contextmanager
def open_part(path: Path, file: StoredFile) -> Iterator[Part]:
    """Open the part at a path to read and to append, once no other process has it open."""
    while True:
        with explained(path):
            out = _open(path)
        with out:
            # Released by the system when this process ends, however it ends.
            fcntl.flock(out, fcntl.LOCK_EX)
            if not _is_at(out, path):
                continue
            with explained(path):
                part = Part(path, out, file)
            try:
                yield part
            finally:
                part.close()
            return


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an OSError of writing to `path` into an OutputError with a hint."""
    try:
        with writing(path):
            yield
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror}", "choose another --dest"
        ) from error


def _open(path: Path) -> FileIO:
    # Neither the scratch folder nor what lies in it may be a link.
    return FileIO(str(path), "a+", opener=partial(open_below, path.parent.parent))


def _is_at(out: FileIO, path: Path) -> bool:
    """Return whether the process that had a part open has not renamed it."""
    try:
        return os.path.samestat(os.fstat(out.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _write_all(out: FileIO, data: bytes) -> None:
    # An unbuffered file may write a part of what it is given.
    left = memoryview(data)
    while left:
        left = left[out.write(left) :]


def _line(length: int, digest: str) -> bytes:
    return b"%d %s\n" % (length, digest.encode())


def _logged(part: Path) -> Iterator[tuple[int, str]]:
    """Yield length and sha256 of each block, up to the first line that was not written whole."""
    try:
        lines = log_path(part).read_bytes().splitlines(keepends=True)
    except OSError:
        return
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            return
        yield int(match[1]), match[2].decode()


def _digest(file: FileIO, length: int) -> str:
    """Return the sha256 of the next bytes."""
    hasher = sha256()
    while length and (piece := file.read(min(_READ_BYTES, length))):
        hasher.update(piece)
        length -= len(piece)
    return hasher.hexdigest()
