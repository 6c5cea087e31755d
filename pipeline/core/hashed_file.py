"""Hashed file: what is written is hashed on the way, so that nobody has to read it again."""

import hashlib
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.core.digest import FileDigest


class HashedFile(io.BufferedIOBase):
    """A new file that is written front to back; `digest` is of what was written so far."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._hasher = hashlib.sha256()
        self._num_bytes = 0

    @property
    def digest(self) -> FileDigest:
        return FileDigest(num_bytes=self._num_bytes, sha256=self._hasher.hexdigest())

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._num_bytes

    def write(self, data: Any) -> int:
        """Write bytes, all of them. Raises: OSError."""
        num_bytes = memoryview(data).nbytes
        self._file.write(data)
        self._hasher.update(data)
        self._num_bytes += num_bytes
        return num_bytes

    def flush(self) -> None:
        if not self._file.closed:
            self._file.flush()

    def close(self) -> None:
        self._file.close()
        super().close()


def write_hashed(path: Path, parts: Iterable[Any]) -> FileDigest:
    """Write parts, bytes or arrays, as a new file; return its digest. Raises: OSError."""
    with HashedFile(path) as file:
        for part in parts:
            file.write(part)
    return file.digest
