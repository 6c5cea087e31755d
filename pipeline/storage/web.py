"""Files at web addresses.

Enters: addresses, with braces for many. Leaves: each file's size and version, as its server tells
them; hosts without ranges send a file whole again after a cut.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.config import Origin
from pipeline.core.errors import ConfigError, InputError
from pipeline.storage.http import Client, RetryPolicy
from pipeline.storage.patterns import expand_braces
from pipeline.storage.ranges import HttpFile, version
from pipeline.storage.store import StoredFile

# As many as a browser might ask at once of a server that speaks HTTP/1.1, a few times over.
_NUM_ASKED_AT_ONCE = 16
_ETAG = "etag:"
_BY_HAND = "fetch the file by hand, and name it with `path:`"


class WebStore:
    """Files at web addresses; they have no revision."""

    revision = None

    def __init__(
        self,
        origin: Origin,
        folder: Path,
        revision: str | None,
        patience: RetryPolicy | None = None,  # Another one than the usual is for tests.
    ) -> None:
        """Spell the addresses out; nothing is asked yet. Raises: ConfigError."""
        assert origin.url is not None
        self._urls = sorted({url for pattern in origin.url for url in expand_braces(pattern)})
        for pattern in origin.url:
            if "*" in pattern:
                raise ConfigError(
                    f"from.url: got {pattern}, expected no wildcard: web hosts cannot be listed",
                    "write {0000..0274} for many",
                )
        hosts = {_host(url) for url in self._urls}
        self._clients = {host: _client(host, patience) for host in sorted(hosts)}

    def list(self) -> tuple[StoredFile, ...]:
        """Return the files, sorted by address; each is asked for its size, some at a time.

        Raises: InputError for the first, by address, that is not there, or of which the server does
        not tell the size or the version.
        """
        with ThreadPoolExecutor(_NUM_ASKED_AT_ONCE) as pool:
            try:
                return tuple(pool.map(self._ask, self._urls))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def receive(self, file: StoredFile, start: int, keep: Callable[[bytes], None]) -> None:
        """Hand on the bytes of a file from `start` to its end. Raises: InputError."""
        remote = HttpFile(
            client=self._clients[_host(file.path)],
            url=file.path,
            num_bytes=file.num_bytes,
            where=file.path,
            version=file.digest.removeprefix(_ETAG),
        )
        remote.receive(start, file.num_bytes, keep, takes_whole=True)

    def _ask(self, url: str) -> StoredFile:
        headers = self._clients[_host(url)].head(url, url)
        size = headers.get("Content-Length", "")
        if not size.isdigit():
            raise InputError(
                f"{url}: got no Content-Length, expected the size of the file",
                _BY_HAND,
            )
        found = version(headers)
        if not found:
            raise InputError(
                f"{url}: got neither ETag nor Last-Modified, expected one: nothing else tells"
                " versions of the file apart",
                _BY_HAND,
            )
        return StoredFile(path=url, num_bytes=int(size), digest=f"{_ETAG}{found}")


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _client(host: str, patience: RetryPolicy | None) -> Client:
    hint = f"see on {host} what it asks for; or fetch the files by hand and name them with `path:`"
    return Client(host, access_hint=hint, patience=patience)
