"""A folder that is not on disk: on the Hub, in a store, at a web host.

Enters: an address. Leaves: which files are there, how long they are, and their bytes by ranges. At
a web host nothing can be listed: what there is, a manifest of a build or an index of shards says.
"""

import json
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.core.errors import ConfigError, InputError
from pipeline.dataset.mds.pool import parse_index
from pipeline.dataset.mds.writer import INDEX_NAME
from pipeline.dataset.paths import MANIFEST
from pipeline.storage import (
    Client,
    HttpFile,
    MissingError,
    RangeFile,
    RemoteFolder,
    host_of,
    is_hub_address,
    local_path,
    open_hub_folder,
    open_object_folder,
    size_and_version,
)

_WEB = ("http", "https")


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
    if is_hub_address(where):
        return open_hub_folder(where)
    where = where.rstrip("/")
    if urlsplit(where).scheme in _WEB:
        return _open_web(where)
    try:
        folder = open_object_folder(where)
    except ConfigError as error:
        if isinstance(error.__cause__, ValueError):
            error.hint = "write a path, or an address that begins with hf:, https:, s3: or gs:"
        raise
    if not folder.num_bytes:
        raise InputError(
            f"{where}: got nothing there, expected an order or a pool", "check the address"
        )
    return folder


def _open_web(where: str) -> RemoteFolder:
    host = host_of(where)
    client = Client(host, access_hint=f"see {host} for how to get access")
    if where.endswith(".parquet"):
        folder, _, name = where.rpartition("/")
        sizes = {name: _size(client, where)}
    else:
        folder, sizes = where, _told(client, where)
    # Which version it is, is told by its first range and held to by the others.
    return RemoteFolder(
        where=folder,
        num_bytes={path: sizes[path] for path in sorted(sizes)},
        remote_file=lambda path: HttpFile(
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
    num_bytes, version = size_and_version(client, url)
    client.versions.setdefault(url, version)
    return num_bytes
