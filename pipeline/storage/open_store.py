"""Opening the store that an origin of a mixture names."""

from pathlib import Path
from typing import Protocol

from pipeline.config import Origin
from pipeline.core.errors import ConfigError
from pipeline.storage.hub import HubStore
from pipeline.storage.local import LocalStore
from pipeline.storage.object_store import ObjectStore
from pipeline.storage.ranges import RemoteFile
from pipeline.storage.store import Store, StoredFile
from pipeline.storage.web import WebStore


class RemoteStore(Store, Protocol):
    """A store that is not on this machine; parts of its files can be read."""

    def remote_file(self, file: StoredFile) -> RemoteFile:
        """Return a file that is read by ranges; nothing is read of it yet."""


def open_store(origin: Origin, folder: Path, revision: str | None = None) -> Store:
    """Open what a mixture in `folder` declares, at the locked revision or else the declared one.

    Raises: InputError when there is no such revision; ConfigError when addresses are of no known
    form, or what reads them is not installed.
    """
    if origin.path is not None:
        return LocalStore(origin, folder, revision)
    return open_remote_store(origin, folder, revision)


def open_remote_store(origin: Origin, folder: Path, revision: str | None = None) -> RemoteStore:
    """Open what is not on this machine, of which parts of files can be read. Raises: as above."""
    if origin.url is None:
        return HubStore(origin, folder, revision)
    web = [url for url in origin.url if url.startswith(("http://", "https://"))]
    if web and len(web) < len(origin.url):
        other = next(url for url in origin.url if url not in web)
        raise ConfigError(
            f"from.url: got {web[0]} and {other}, expected addresses of one kind",
            "make two sources of them",
        )
    return (WebStore if web else ObjectStore)(origin, folder, revision)
