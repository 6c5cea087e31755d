"""Remote files and folders, read by byte ranges.

All bytes are of one version of a file, and each comes once, however often the connection is cut.
"""

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from urllib3.response import BaseHTTPResponse

from pipeline.core.errors import InputError
from pipeline.storage.http import Client, check_complete
from pipeline.storage.store import LOCK_AGAIN

_MAY_HAVE_CHANGED = "the file may have changed upstream: lock again, or run the command again"


def version_of(headers: Mapping[str, str]) -> str:
    """Return the ETag of a file, or else when it was modified, or nothing."""
    return headers.get("ETag") or headers.get("Last-Modified", "")


def size_and_version(client: Client, url: str) -> tuple[int, str]:
    """Ask for the size of a file, and its version. Raises: InputError without a size."""
    headers = client.head(url, url)
    size = headers.get("Content-Length", "")
    if not re.fullmatch("[0-9]{1,18}", size):
        raise InputError(
            f"{url}: got no Content-Length, expected the size of the file",
            "download the file, and name its path",
        )
    return int(size), version_of(headers)


class RemoteFile(Protocol):
    """A file of known length that is read by ranges."""

    @property
    def num_bytes(self) -> int: ...

    def stream(
        self, start: int, stop: int, write: Callable[[bytes], None], *, accepts_whole: bool = False
    ) -> None:
        """Write the bytes from `start` to `stop`, each once. Raises: InputError.

        `accepts_whole`: for ranges to the end of the file, also from a server without ranges, which
        sends the file from its beginning.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpFile:
    """A file on a web server."""

    client: Client
    url: str
    num_bytes: int
    where: str
    """Its name in errors."""
    version: str = ""
    """The version it must have, if known."""

    def stream(
        self, start: int, stop: int, write: Callable[[bytes], None], *, accepts_whole: bool = False
    ) -> None:
        """Write the bytes from `start` to `stop`; after a cut only what is missing is requested."""
        reached = start

        def count(piece: bytes) -> None:
            nonlocal reached
            write(piece)
            reached += len(piece)

        def attempt() -> None:
            headers = {"Range": f"bytes={reached}-{stop - 1}"}
            with self.client.request(self.url, self.where, headers) as response:
                self._check_version(response.headers)
                if response.status == 200 and accepts_whole:
                    self._skip_to(reached, response, count)
                else:
                    self._check_range(response.status, response.headers, reached, stop - 1)
                    self.client.receive(response, stop - reached, count)

        if start < stop:
            self.client.retry.run(self.where, attempt, lambda: reached)

    def _skip_to(
        self, start: int, response: BaseHTTPResponse, write: Callable[[bytes], None]
    ) -> None:
        """Write a whole file but for its beginning."""
        position = 0

        def write_rest(piece: bytes) -> None:
            nonlocal position
            known = max(0, start - position)
            position += len(piece)
            if position > self.num_bytes:
                raise InputError(
                    f"{self.where}: got {position:,} bytes and more, expected {self.num_bytes:,}",
                    _MAY_HAVE_CHANGED,
                )
            if known < len(piece):
                write(piece[known:])

        self.client.receive(response, None, write_rest)
        check_complete(position, self.num_bytes)

    def _check_range(self, status: int, headers: Mapping[str, str], first: int, last: int) -> None:
        if status != 206:
            raise InputError(
                f"{self.where}: got the whole file, expected bytes {first} to {last}: the server"
                " does not support ranges",
                "pull the file and name the folder",
            )
        given = headers.get("Content-Range", "")
        bounds = f"bytes {first}-{last}/"
        if given not in (f"{bounds}*", f"{bounds}{self.num_bytes}"):
            raise InputError(
                f"{self.where}: got the range {given!r}, expected '{bounds}{self.num_bytes}'",
                _MAY_HAVE_CHANGED,
            )

    def _check_version(self, headers: Mapping[str, str]) -> None:
        """Refuse an answer of another version than is known, or was read before."""
        found = version_of(headers)
        if self.version and found != self.version:
            raise InputError(
                f"{self.where}: got the version {found}, expected {self.version}", LOCK_AGAIN
            )
        before = self.client.versions.setdefault(self.url, found)
        if found != before:
            raise InputError(
                f"{self.where}: got the version {found}, expected {before} as before",
                "the file changed while it was read; run the same command again",
            )


class RangeFile(io.RawIOBase):
    """A remote file as a Python file, read by ranges."""

    def __init__(self, file: RemoteFile) -> None:
        super().__init__()
        self.num_bytes, self._file, self._position = file.num_bytes, file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.num_bytes}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, short of the end of the file only. Raises: InputError."""
        view = memoryview(buffer).cast("B")
        view = view[: max(0, min(len(view), self.num_bytes - self._position))]
        reached = 0

        def write(piece: bytes) -> None:
            nonlocal reached
            view[reached : reached + len(piece)] = piece
            reached += len(piece)

        self._file.stream(self._position, self._position + len(view), write)
        self._position += len(view)
        return len(view)

    def readall(self) -> bytes:
        """Return the rest of the file, in one request, also from a server without ranges."""
        data = bytearray()
        self._file.stream(self._position, self.num_bytes, data.extend, accepts_whole=True)
        self._position = max(self._position, self.num_bytes)
        return bytes(data)


@dataclass(frozen=True, kw_only=True)
class RemoteFolder:
    """The files below an address."""

    where: str
    """The address; on the Hub with the commit."""
    num_bytes: Mapping[str, int]
    """By path below it, sorted, the size of each file."""
    remote_file: Callable[[str], RemoteFile] = field(repr=False)
    """Returns a file by its path; nothing is read of it yet."""
    client: Client | None = None
    """None where the bytes received are not counted."""
    is_file: bool = False
    """Whether one file was named, and is all that it has."""
    commit: str | None = None
    """40 hex digits, on the Hub."""
    sha256: Mapping[str, str] = field(default_factory=dict, repr=False)
    """By path, in hex, of the files whose listing says it."""

    def file(self, path: str) -> RangeFile:
        """Return an open file; nothing is read yet."""
        return RangeFile(self.remote_file(path))

    def read(self, path: str) -> bytes:
        """Return all of a file. Raises: InputError."""
        return self.file(path).readall()

    def below(self, folder: str) -> "RemoteFolder":
        prefix = f"{folder}/"
        sizes = {
            path.removeprefix(prefix): size
            for path, size in self.num_bytes.items()
            if path.startswith(prefix)
        }
        return replace(
            self,
            where=f"{self.where}/{folder}",
            num_bytes=sizes,
            remote_file=lambda path: self.remote_file(prefix + path),
            is_file=False,
            sha256={one: self.sha256[prefix + one] for one in sizes if prefix + one in self.sha256},
        )
