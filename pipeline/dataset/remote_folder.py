"""A folder that is not on disk: on the Hub, in a store, at a web host.

Enters: an address. Leaves: which files are there, how long they are, and their bytes by ranges. At
a web host nothing can be listed: what there is, a manifest of a build or an index of shards says.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.core.errors import ConfigError, InputError
from pipeline.dataset.mds.pool import parse_index
from pipeline.dataset.mds.writer import INDEX_NAME
from pipeline.dataset.paths import MANIFEST
from pipeline.storage import (
    Client,
    HttpFile,
    HubFolder,
    MissingError,
    RangeFile,
    RemoteFile,
    is_remote,
    list_objects,
    local_path,
    version,
)

_WEB = ("http", "https")


@dataclass(frozen=True, kw_only=True)
class RemoteFolder:
    """The files below an address."""

    where: str
    """The address; on the Hub with the commit."""
    num_bytes: Mapping[str, int]
    """By path below it, sorted, how long each file is."""
    ranges: Callable[[str], RemoteFile] = field(repr=False)
    """What hands out the bytes of a file, by its path."""
    client: Client | None = None
    """What asks, where it counts the bytes that came."""
    is_file: bool = False
    """Whether one file was named, and is all that it has."""

    def file(self, path: str) -> RangeFile:
        """Return one of the files; nothing is read of it yet."""
        return RangeFile(self.ranges(path))

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
            ranges=lambda path: self.ranges(prefix + path),
            client=self.client,
        )


def is_address(where: str | Path) -> bool:
    """Return whether this is an address, of whatever kind, and not a path."""
    return len(urlsplit(str(where)).scheme) > 1 and "://" in str(where)


def as_path(where: str | Path) -> Path | None:
    """Return the path that this is, or that a `file://` address names; None for any other."""
    if not is_address(where):
        return Path(where)
    return local_path(str(where)) if str(where).startswith(("file:", "local:")) else None


def open_remote(where: str) -> RemoteFolder:
    """List what lies at an address: a folder, or one file if it ends in `.parquet`.

    Raises: InputError when it cannot be listed, or there is nothing.
    """
    if is_remote(where):
        hub = HubFolder.open(where)
        return RemoteFolder(
            where=hub.where,
            num_bytes=hub.num_bytes,
            ranges=hub.ranges,
            client=hub.client,
            is_file=where.endswith(".parquet"),
        )
    where = where.rstrip("/")
    if urlsplit(where).scheme in _WEB:
        return _open_web(where)
    try:
        files = list_objects(where)
    except ConfigError as error:
        if isinstance(error.__cause__, ValueError):
            error.hint = "write a path, or an address that begins with hf:, https:, s3: or gs:"
        raise
    if not files:
        raise InputError(
            f"{where}: got nothing there, expected an order or a pool", "check the address"
        )
    return RemoteFolder(
        where=where.rpartition("/")[0] if where.endswith(".parquet") else where,
        num_bytes={path: file.num_bytes for path, file in files.items()},
        ranges=files.__getitem__,
        is_file=where.endswith(".parquet"),
    )


def _open_web(where: str) -> RemoteFolder:
    parts = urlsplit(where)
    host = f"{parts.scheme}://{parts.netloc}"
    client = Client(host, access_hint=f"see on {host} what it asks for")
    if where.endswith(".parquet"):
        folder, _, name = where.rpartition("/")
        sizes = {name: _size(client, where)}
    else:
        folder, sizes = where, _told(client, where)
    # Which version it is, is told by its first range and held to by the others.
    return RemoteFolder(
        where=folder,
        num_bytes={path: sizes[path] for path in sorted(sizes)},
        ranges=lambda path: HttpFile(
            client=client, url=f"{folder}/{path}", num_bytes=sizes[path], where=f"{folder}/{path}"
        ),
        client=client,
        is_file=where.endswith(".parquet"),
    )


def _told(client: Client, where: str) -> dict[str, int]:
    """Return the files that a manifest or an index at a web host tells of."""
    for name in (MANIFEST, INDEX_NAME):
        try:
            num_bytes = _size(client, f"{where}/{name}")
        except MissingError:
            continue
        url = f"{where}/{name}"
        file = HttpFile(client=client, url=url, num_bytes=num_bytes, where=url)
        data = RangeFile(file).readall()
        try:
            if name == INDEX_NAME:
                raws = [entry["raw_data"] for entry in parse_index(data, url)]
                sizes = {one["basename"]: int(one["bytes"]) for one in raws}
            else:
                sizes = {path: int(one["bytes"]) for path, one in json.loads(data)["files"].items()}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"{url}: got a file that does not say which files there are"
            ) from error
        return {name: num_bytes, **sizes}
    raise InputError(
        f"{where}: got neither {MANIFEST} nor {INDEX_NAME}, expected one: web hosts cannot be"
        " listed",
        "name one parquet file, or fetch the folder and name it",
    )


def _size(client: Client, url: str) -> int:
    headers = client.head(url, url)
    size = headers.get("Content-Length", "")
    if not size.isdigit():
        raise InputError(f"{url}: got no Content-Length, expected the size of the file")
    client.versions.setdefault(url, version(headers))
    return int(size)
