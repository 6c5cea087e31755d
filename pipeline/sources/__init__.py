"""Sources: where documents come from, which files there are, their bytes, and what is in them."""

from pathlib import Path
from typing import Protocol

from pipeline.errors import MixtureError
from pipeline.mixture.origin import Origin
from pipeline.sources.hub import HubFiles
from pipeline.sources.local import LocalFiles
from pipeline.sources.origin import OpenOrigin
from pipeline.sources.store import StoreFiles
from pipeline.sources.url import UrlFiles

__all__ = ["open_origin"]


class _Kind(Protocol):
    def __call__(self, origin: Origin, folder: Path, revision: str | None) -> OpenOrigin: ...


_KINDS: dict[str, _Kind] = {
    "path": LocalFiles,
    "hub": HubFiles,
    "url": UrlFiles,
    "store": StoreFiles,
}


def open_origin(origin: Origin, folder: Path, revision: str | None = None) -> OpenOrigin:
    """Open what a mixture in `folder` declares, at the revision that was locked or, if none was,
    at what the declared one stands for now.

    Raises: InputError when there is no such revision; MixtureError when addresses are of no known
    form, or what reads them is not installed.
    """
    return _KINDS[_kind(origin)](origin, folder, revision)


def _kind(origin: Origin) -> str:
    if origin.url is None:
        return origin.kind
    of_the_web = [url for url in origin.url if url.startswith(("http://", "https://"))]
    if of_the_web and len(of_the_web) < len(origin.url):
        other = next(url for url in origin.url if url not in of_the_web)
        raise MixtureError(
            f"from.url: got {of_the_web[0]} and {other}, expected addresses of one kind",
            "make two sources of them",
        )
    return "url" if of_the_web else "store"
