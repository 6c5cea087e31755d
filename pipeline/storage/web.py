"""Files at web addresses, with braces for many. Hosts without ranges send files whole again."""

from collections.abc import Callable
from pathlib import Path

from pipeline.config import Origin
from pipeline.core.errors import ConfigError, InputError
from pipeline.storage.http import Client, host_of
from pipeline.storage.patterns import expand_addresses
from pipeline.storage.ranges import HttpFile, size_and_version
from pipeline.storage.retry import RetryPolicy, map_concurrently
from pipeline.storage.store import StoredFile

_ETAG = "etag:"


class WebStore:
    """Files at web addresses; they have no revision."""

    revision = None

    def __init__(
        self, origin: Origin, folder: Path, revision: str | None, retry: RetryPolicy | None = None
    ) -> None:
        assert origin.url is not None
        # Files are named without what only their host must know.
        self._urls = expand_addresses(origin.url)
        for pattern in origin.url:
            if "*" in pattern:
                raise ConfigError(
                    f"from.url: got {pattern}, expected no wildcard: web hosts cannot be listed",
                    "write {0000..0274} for many",
                )
        self._clients = {
            host: Client(
                host,
                access_hint=f"see {host} for how to get access; or download the files, and name"
                " them with `path:`",
                retry=retry,
            )
            for host in sorted(set(map(host_of, self._urls.values())))
        }

    def list(self) -> tuple[StoredFile, ...]:
        return tuple(map_concurrently(self._describe, sorted(self._urls)))

    def has(self, path: str) -> bool:
        # No other is known, since web hosts cannot be listed.
        return path in self._urls

    def remote_file(self, file: StoredFile) -> HttpFile:
        url = self._urls.get(file.path, file.path)
        return HttpFile(
            client=self._clients[host_of(url)],
            url=url,
            num_bytes=file.num_bytes,
            where=file.path,
            version=file.digest.removeprefix(_ETAG),
        )

    def stream(self, file: StoredFile, start: int, write: Callable[[bytes], None]) -> None:
        self.remote_file(file).stream(start, file.num_bytes, write, accepts_whole=True)

    def _describe(self, path: str) -> StoredFile:
        url = self._urls[path]
        num_bytes, version = size_and_version(self._clients[host_of(url)], url)
        if not version:
            raise InputError(
                f"{url}: got neither ETag nor Last-Modified, expected one: nothing else tells"
                " versions of the file apart",
                "download the file, and name it with `path:`",
            )
        return StoredFile(path=path, num_bytes=num_bytes, digest=f"{_ETAG}{version}")
