"""Ranges of a remote file: handed on as they come, or read as if the file lay on disk.

Enters: the address of a file and its length. Leaves: its bytes.
Invariant: all bytes are of one version of the file, and each comes once, whatever was cut between.
"""

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.core.errors import InputError
from pipeline.storage.http import Client, TransientError, closing

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_CHANGED = "the file at its origin may be another one now: lock again, or run the command again"


def version(headers: Mapping[str, str]) -> str:
    """Return what tells versions of a file apart: its ETag, or when it was modified, or nothing."""
    return headers.get("ETag") or headers.get("Last-Modified", "")


class RemoteFile(Protocol):
    """A file far away, of which any range can be had."""

    @property
    def num_bytes(self) -> int:
        """How long it is."""

    def receive(
        self, start: int, stop: int, keep: Callable[[bytes], None], *, takes_whole: bool = False
    ) -> None:
        """Hand on the bytes from `start` to `stop`, each once. Raises: InputError.

        `takes_whole`: to the end of the file, and so from a server too that knows no ranges.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpFile:
    """A file at a server."""

    client: Client
    """What asks for it."""
    url: str
    """Where it is."""
    num_bytes: int
    """How long it is."""
    where: str
    """What errors call it."""
    version: str = ""
    """Which version it must be, if that is known before."""

    def receive(
        self, start: int, stop: int, keep: Callable[[bytes], None], *, takes_whole: bool = False
    ) -> None:
        """Hand on the bytes from `start` to `stop`; after a cut, what is missing is asked for.

        `takes_whole`: a server that knows no ranges sends the file from its beginning; what is
        there already is left out. For ranges to the end of the file alone.

        Raises: InputError.
        """
        reached = start

        def count(piece: bytes) -> None:
            nonlocal reached
            keep(piece)
            reached += len(piece)

        def attempt() -> None:
            asked = {"Range": f"bytes={reached}-{stop - 1}"}
            response = self.client.ask(self.url, self.where, asked)
            with closing(response):
                self._check_version(response.headers)
                if response.status == 200 and takes_whole:
                    beyond = _Beyond(self, reached, count)
                    self.client.receive(response, None, beyond.keep)
                    beyond.check_end()
                else:
                    self._check_range(response.status, response.headers, reached, stop - 1)
                    self.client.receive(response, stop - reached, count)

        if start < stop:
            self.client.persist(self.where, attempt, lambda: reached)

    def _check_range(self, status: int, headers: Mapping[str, str], first: int, last: int) -> None:
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
                _CHANGED,
            )

    def _check_version(self, headers: Mapping[str, str]) -> None:
        """Refuse an answer that is not of the version that is known, or was read before.

        Raises: InputError.
        """
        found = version(headers)
        if self.version and found != self.version:
            raise InputError(
                f"{self.where}: got the version {found}, expected {self.version}",
                "the file at its origin is another one now; lock again to take it as it is",
            )
        before = self.client.versions.setdefault(self.url, found)
        if found != before:
            raise InputError(
                f"{self.where}: got the version {found}, expected {before} as before",
                "the file changed while it was read; run the same command again",
            )


class _Beyond:
    """What comes of a whole file, less its beginning."""

    def __init__(self, file: HttpFile, start: int, keep: Callable[[bytes], None]) -> None:
        self._file, self._start, self._keep = file, start, keep
        self._came = 0

    def keep(self, piece: bytes) -> None:
        """Hand on what of a piece lies beyond the start. Raises: InputError past the end."""
        known = max(0, self._start - self._came)
        self._came += len(piece)
        if self._came > self._file.num_bytes:
            raise InputError(
                f"{self._file.where}: got {self._came:,} bytes and more, expected"
                f" {self._file.num_bytes:,}",
                _CHANGED,
            )
        if known < len(piece):
            self._keep(piece[known:])

    def check_end(self) -> None:
        """Raise TransientError when it ended before."""
        if self._came < self._file.num_bytes:
            raise TransientError(
                f"the connection was cut after {self._came:,} of {self._file.num_bytes:,} bytes"
            )


class RangeFile(io.RawIOBase):
    """A remote file of a known length, read by ranges."""

    def __init__(self, file: RemoteFile) -> None:
        """Make a file; nothing is read yet."""
        super().__init__()
        self.num_bytes, self._file, self._position = file.num_bytes, file, 0

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
        reached = 0

        def keep(piece: bytes) -> None:
            nonlocal reached
            view[reached : reached + len(piece)] = piece
            reached += len(piece)

        self._file.receive(self._position, self._position + len(view), keep)
        self._position += len(view)
        return len(view)

    def readall(self) -> bytes:
        """Return all that is left, in one request, which a server needs know no ranges for."""
        data = bytearray()
        self._file.receive(self._position, self.num_bytes, data.extend, takes_whole=True)
        self._position = max(self._position, self.num_bytes)
        return bytes(data)
