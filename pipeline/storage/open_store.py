"""Opening the store that an origin of a mixture names."""

from collections.abc import Callable
from pathlib import Path

from pipeline.config import Origin
from pipeline.core.errors import ConfigError
from pipeline.storage.hub import HubStore
from pipeline.storage.local import LocalStore
from pipeline.storage.object_store import ObjectStore
from pipeline.storage.store import Store
from pipeline.storage.web import WebStore

STORES: dict[str, Callable[[Origin, Path, str | None], Store]] = {
    "path": LocalStore,
    "hub": HubStore,
    "url": WebStore,
    "object": ObjectStore,
}


def open_store(origin: Origin, folder: Path, revision: str | None = None) -> Store:
    """Open what a mixture in `folder` declares, at the locked revision or, without one, at the
    commit of the declared one now.

    Raises: InputError when there is no such revision; ConfigError when addresses are of no known
    form, or what reads them is not installed.
    """
    return STORES[_kind(origin)](origin, folder, revision)


def _kind(origin: Origin) -> str:
    if origin.url is None:
        return origin.kind
    web = [url for url in origin.url if url.startswith(("http://", "https://"))]
    if web and len(web) < len(origin.url):
        other = next(url for url in origin.url if url not in web)
        raise ConfigError(
            f"from.url: got {web[0]} and {other}, expected addresses of one kind",
            "make two sources of them",
        )
    return "url" if web else "object"
