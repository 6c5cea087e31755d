"""Opening the store that an origin of a mixture names."""

from pathlib import Path

from pipeline.config import Origin
from pipeline.core.errors import ConfigError
from pipeline.storage.hub import HubStore
from pipeline.storage.local import LocalStore
from pipeline.storage.object_store import ObjectStore
from pipeline.storage.store import Store
from pipeline.storage.web import WebStore


def open_store(origin: Origin, folder: Path, revision: str | None = None) -> Store:
    """Open what a mixture in `folder` declares, at the locked revision or else the declared one.

    Raises: InputError when there is no such revision; ConfigError when addresses are of no known
    form, or what reads them is not installed.
    """
    if origin.url is None:
        return (HubStore if origin.kind == "hub" else LocalStore)(origin, folder, revision)
    web = [url for url in origin.url if url.startswith(("http://", "https://"))]
    if web and len(web) < len(origin.url):
        other = next(url for url in origin.url if url not in web)
        raise ConfigError(
            f"from.url: got {web[0]} and {other}, expected addresses of one kind",
            "make two sources of them",
        )
    return (WebStore if web else ObjectStore)(origin, folder, revision)
