"""Sources: where documents come from, which files there are, their bytes, and what is in them."""

from pathlib import Path
from typing import Protocol

from pipeline.config import Origin
from pipeline.core.errors import ConfigError
from pipeline.storage.hub import HubStore
from pipeline.storage.local import LocalStore
from pipeline.storage.object_store import ObjectStore
from pipeline.storage.store import Store
from pipeline.storage.web import WebStore

__all__ = ["open_store"]


class _Kind(Protocol):
    def __call__(self, origin: Origin, folder: Path, revision: str | None) -> Store: ...


_KINDS: dict[str, _Kind] = {
    "path": LocalStore,
    "hub": HubStore,
    "url": WebStore,
    "store": ObjectStore,
}


def open_store(origin: Origin, folder: Path, revision: str | None = None) -> Store:
    """Open what a mixture in `folder` declares, at the revision that was locked or, if none was,
    at what the declared one stands for now.

    Raises: InputError when there is no such revision; ConfigError when addresses are of no known
    form, or what reads them is not installed.
    """
    return _KINDS[_kind(origin)](origin, folder, revision)


def _kind(origin: Origin) -> str:
    if origin.url is None:
        return origin.kind
    of_the_web = [url for url in origin.url if url.startswith(("http://", "https://"))]
    if of_the_web and len(of_the_web) < len(origin.url):
        other = next(url for url in origin.url if url not in of_the_web)
        raise ConfigError(
            f"from.url: got {of_the_web[0]} and {other}, expected addresses of one kind",
            "make two sources of them",
        )
    return "url" if of_the_web else "store"
