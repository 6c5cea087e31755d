"""A folder that is not on disk, with the files below an address, each read by ranges."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipeline.storage.http import Client
from pipeline.storage.ranges import RangeFile, RemoteFile


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
    """What asks, where it counts the bytes that came."""
    is_file: bool = False
    """Whether one file was named, and is all that it has."""
    commit: str | None = None
    """40 hex digits, on the Hub."""

    def file(self, path: str) -> RangeFile:
        """Return a file, open; nothing is read of it yet."""
        return RangeFile(self.remote_file(path))

    def read(self, path: str) -> bytes:
        """Return all of a file. Raises: InputError."""
        return self.file(path).readall()

    def below(self, folder: str) -> "RemoteFolder":
        """Return a folder in it."""
        prefix = f"{folder}/"
        return RemoteFolder(
            where=f"{self.where}/{folder}",
            num_bytes={
                path.removeprefix(prefix): size
                for path, size in self.num_bytes.items()
                if path.startswith(prefix)
            },
            remote_file=lambda path: self.remote_file(prefix + path),
            client=self.client,
            commit=self.commit,
        )
