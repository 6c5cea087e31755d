"""Ranges of a remote file, read as if it lay on disk.

Enters: the address of a file and its length. Leaves: a seekable file.
Invariant: all bytes are of one version of the file, and no more come than were asked for.
"""

import io
import re
from collections.abc import Mapping
from typing import Any

from pipeline.errors import InputError
from pipeline.remote.http import Client, closing

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class RangeFile(io.RawIOBase):
    """A remote file of a known length, read by ranges."""

    def __init__(self, client: Client, url: str, num_bytes: int, where: str) -> None:
        """Make a file; nothing is read yet. `where` names it in errors."""
        super().__init__()
        self.url, self.num_bytes, self.where = url, num_bytes, where
        self._client = client
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position from the start, from here or from the end; nothing is read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.num_bytes}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, short of the end of the file only. Raises: InputError."""
        view = memoryview(buffer).cast("B")
        view = view[: max(0, min(len(view), self.num_bytes - self._position))]
        if len(view):
            self._fill(view)
        self._position += len(view)
        return len(view)

    def readall(self) -> bytes:
        """Return all that is left, in one request."""
        return self.read(max(0, self.num_bytes - self._position)) or b""

    def _fill(self, view: memoryview) -> None:
        reached, stop = 0, self._position + len(view)

        def keep(piece: bytes) -> None:
            nonlocal reached
            view[reached : reached + len(piece)] = piece
            reached += len(piece)

        def attempt() -> None:
            # After a cut, only what is missing is asked for.
            start = self._position + reached
            asked = {"Range": f"bytes={start}-{stop - 1}"}
            response = self._client.ask(self.url, self.where, asked)
            with closing(response):
                self._check(response.status, response.headers, start, stop - 1)
                self._client.receive(response, stop - start, keep)

        self._client.persist(self.where, attempt)

    def _check(self, status: int, headers: Mapping[str, str], first: int, last: int) -> None:
        """Refuse an answer that is not bytes `first` to `last` of the version read before.

        Raises: InputError.
        """
        if status != 206:
            raise InputError(
                f"{self.where}: got the whole file, expected bytes {first} to {last}: the server"
                " knows no ranges",
                "pull the file and name the folder",
            )
        told = headers.get("Content-Range", "")
        match = _CONTENT_RANGE.fullmatch(told)
        expected = (str(first), str(last))
        if match is None or match.groups()[:2] != expected or match[3] not in (
            "*", str(self.num_bytes),
        ):  # fmt: skip
            raise InputError(
                f"{self.where}: got the range {told!r}, expected"
                f" 'bytes {first}-{last}/{self.num_bytes}'",
                "the file may have changed; run the same command again",
            )
        etag = headers.get("ETag", "")
        before = self._client.versions.setdefault(self.url, etag)
        if etag != before:
            raise InputError(
                f"{self.where}: got the version {etag}, expected {before} as before",
                "the file changed while it was read; run the same command again",
            )
