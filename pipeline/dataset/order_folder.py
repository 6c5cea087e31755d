"""List the files of an order: on disk, on the Hub, in an object store, or at a web host.

A web host cannot be listed: there, a manifest of a build or an index of shards names the files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa

from pipeline.core.errors import ConfigError, InputError
from pipeline.core.json_record import parse_json
from pipeline.core.mirrored import here, mirror_of
from pipeline.core.regular_file import read_file
from pipeline.dataset.paths import INDEX_NAME, MANIFEST, ORDER, PARTIAL
from pipeline.storage import (
    Client,
    HttpFile,
    MissingError,
    RangeFile,
    RemoteFolder,
    RetryPolicy,
    host_of,
    is_hub_address,
    local_path,
    open_hub_folder,
    open_object_folder,
    size_and_version,
)

_WEB = ("http", "https")


@dataclass(frozen=True, kw_only=True)
class LocalFolder:
    """The files of an order below a path, as a `RemoteFolder` has those below an address."""

    where: str
    """The path, absolute."""
    num_bytes: Mapping[str, int]
    """The size of each file, by path below it."""
    is_file: bool = False
    client: None = None
    commit: None = None

    def file(self, path: str) -> Any:
        """Open a file for pyarrow. Not mapped: one that is cut short meanwhile would end us."""
        return pa.OSFile(str(here(Path(self.where, path))))

    def read(self, path: str) -> bytes:
        return read_file(Path(self.where, path))

    def below(self, folder: str) -> "LocalFolder":
        prefix = f"{folder}/"
        num_bytes = {
            path.removeprefix(prefix): size
            for path, size in self.num_bytes.items()
            if path.startswith(prefix)
        }
        return replace(self, where=f"{self.where}/{folder}", num_bytes=num_bytes)


Folder = LocalFolder | RemoteFolder


def as_path(where: str | Path) -> Path | None:
    """Return the path that this is, or that a `file://` address names; None for another address."""
    if len(urlsplit(str(where)).scheme) <= 1 or "://" not in str(where):
        return Path(where)
    return local_path(str(where)) if str(where).startswith(("file:", "local:")) else None


def list_local(path: Path, *, parquet: bool = True) -> LocalFolder:
    """List the files of an order in a folder, or one file; parquet files if asked."""
    if path.is_file():
        sizes = {path.name: path.stat().st_size}
        return LocalFolder(where=str(path.parent), num_bytes=sizes, is_file=True)
    if (mirror := mirror_of(path)) is not None:
        return LocalFolder(where=str(path), num_bytes=mirror.sizes(path))
    found = [path / name for name in (MANIFEST, PARTIAL, INDEX_NAME, f"{ORDER}/{INDEX_NAME}")]
    if parquet:
        found += [*path.glob("*.parquet"), *path.glob("*/*.parquet")]
        found += path.glob(f"{ORDER}/*/*.parquet")
    num_bytes = {
        one.relative_to(path).as_posix(): one.stat().st_size for one in found if one.is_file()
    }
    return LocalFolder(where=str(path), num_bytes=num_bytes)


def list_remote(where: str, retry: RetryPolicy | None = None) -> RemoteFolder:
    """List the files at an address: a folder, or one file if it ends in `.parquet`.

    retry: how patient to be with a web server or the Hub.

    Raises: InputError when it cannot be listed, or is empty.
    """
    if is_hub_address(where):
        return open_hub_folder(where, retry)
    where = where.rstrip("/")
    if urlsplit(where).scheme in _WEB:
        return _list_web(where, retry)
    try:
        folder = open_object_folder(where)
    except ConfigError as error:
        if isinstance(error.__cause__, ValueError):
            error.hint = "write a path, or an address that begins with hf:, https:, s3: or gs:"
        raise
    if not folder.num_bytes:
        raise InputError(f"{where}: not found, expected an order or a pool", "check the address")
    return folder


def _list_web(where: str, retry: RetryPolicy | None) -> RemoteFolder:
    host = host_of(where)
    client = Client(host, access_hint=f"see {host} for how to get access", retry=retry)
    is_file = where.endswith(".parquet")
    if is_file:
        folder, _, name = where.rpartition("/")
        sizes = {name: _size(client, where)}
    else:
        folder, sizes = where, _named_files(client, where)
    # The first range of a file fixes its version for all others.
    return RemoteFolder(
        where=folder,
        num_bytes={path: sizes[path] for path in sorted(sizes)},
        remote_file=lambda path: _web_file(client, f"{folder}/{path}", sizes[path]),
        client=client,
        is_file=is_file,
    )


def _named_files(client: Client, where: str) -> dict[str, int]:
    for name in (MANIFEST, INDEX_NAME):
        url = f"{where}/{name}"
        try:
            num_bytes = _size(client, url)
        except MissingError:
            continue
        data = RangeFile(_web_file(client, url, num_bytes)).readall()
        try:
            if name == INDEX_NAME:
                raws = [entry["raw_data"] for entry in parse_json(data)["shards"]]
                sizes = {one["basename"]: int(one["bytes"]) for one in raws}
            else:
                sizes = {path: int(one["bytes"]) for path, one in parse_json(data)["files"].items()}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"{url}: got a file that does not say which files there are"
            ) from error
        return {name: num_bytes, **sizes}
    raise InputError(
        f"{where}: got neither {MANIFEST} nor {INDEX_NAME}, expected one: web hosts cannot be"
        " listed",
        "name one parquet file, or fetch the folder and name it; a data set of the Hub is named as"
        " hf://datasets/ORG/NAME",
    )


def _web_file(client: Client, url: str, num_bytes: int) -> HttpFile:
    return HttpFile(client=client, url=url, num_bytes=num_bytes, where=url)


def _size(client: Client, url: str) -> int:
    num_bytes, version = size_and_version(client, url)
    client.versions.setdefault(url, version)
    return num_bytes
