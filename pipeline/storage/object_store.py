"""Files in object stores and others that `fsspec` knows: s3, gs, file, and many more.

Addresses may have braces and wildcards.
"""

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from glob import has_magic
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from fsspec.core import url_to_fs

from pipeline.config import Origin
from pipeline.core.errors import ConfigError, InputError, MismatchError, NetworkError, causes_of
from pipeline.core.shown import without_secrets
from pipeline.storage.http import host_of
from pipeline.storage.local_glob import reach_files
from pipeline.storage.patterns import expand_addresses
from pipeline.storage.ranges import RemoteFolder
from pipeline.storage.retry import RetryPolicy, TransientError, map_concurrently
from pipeline.storage.store import LOCK_AGAIN, StoredFile
from pipeline.storage.writable_store import extra_of, settings_of

Result = TypeVar("Result")

# A store answers each range in tens of milliseconds; eight pulls at once hold 64 MiB.
_PIECE_BYTES = 8 << 20
_VERSIONS = ("ETag", "etag", "e_tag", "md5Hash", "content_md5")
# Errors of a connection that are no OSError, by the names that the backends give them.
_LOST = re.compile("Connect|Timeout|Payload|GenericError")
_REFUSED = re.compile("Credential|PermissionDenied|Unauthenticated")
# Those that `obstore` reads, where it is installed.
_READ_BY_OBSTORE = ("gs", "az", "abfs", "abfss")
_S3_ACCESS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or FSSPEC_S3_ANON=true for public buckets"
)


@dataclass(frozen=True, kw_only=True)
class ObjectFile:
    """A file of a store, read by ranges."""

    file: StoredFile
    """Its address, its length and its version."""
    store: Any
    """The `fsspec` file system."""
    path: str
    retry: RetryPolicy

    @property
    def num_bytes(self) -> int:
        return self.file.num_bytes

    def stream(
        self, start: int, stop: int, write: Callable[[bytes], None], *, accepts_whole: bool = False
    ) -> None:
        # Every store supports ranges.
        for first in range(start, stop, _PIECE_BYTES):
            last = min(first + _PIECE_BYTES, stop)
            read = partial(self.store.cat_file, self.path, start=first, end=last)
            piece = _ask(self.file.path, read, self.retry)
            if len(piece) != last - first:
                raise _changed(self.file.path, f"{len(piece):,} bytes", f"{last - first:,}")
            write(piece)

    def check(self) -> None:
        """Raise MismatchError unless the store still has this version."""
        self.store.invalidate_cache(self.path)
        info = _ask(self.file.path, lambda: self.store.info(self.path), self.retry)
        found = _describe(self.store, self.file.path, self.path, info)
        if (found.num_bytes, found.digest) != (self.num_bytes, self.file.digest):
            got, expected = (f"{one.num_bytes:,} bytes, {one.digest}" for one in (found, self.file))
            raise _changed(self.file.path, got, expected)


class ObjectStore:
    """Files of stores; they have no revision."""

    revision = None

    def __init__(
        self, origin: Origin, folder: Path, revision: str | None, retry: RetryPolicy | None = None
    ) -> None:
        """Open the stores of all addresses. Raises: ConfigError for one that nothing reads."""
        assert origin.url is not None
        addresses = expand_addresses(origin.url)
        self._patterns = list(addresses)
        self._retry = retry or RetryPolicy()
        # By host without a login, which an opened store keeps.
        self._stores: dict[str, Any] = {}
        for name, address in addresses.items():
            host = host_of(name)
            if host not in self._stores:
                self._stores[host] = _open(address, f"from.url: got {address}")

    def list(self) -> tuple[StoredFile, ...]:
        for store in self._stores.values():
            store.invalidate_cache()
        parts = map_concurrently(self._match, self._patterns)
        found = {file.path: file for part in parts for file in part}
        return tuple(found[path] for path in sorted(found))

    def has(self, path: str) -> bool:
        store, name = self._find(path)
        try:
            # Most stores answer from the listing before.
            _ask(path, lambda: store.info(name), self._retry)
        except NetworkError:
            raise
        except InputError:
            return False
        return True

    def remote_file(self, file: StoredFile) -> ObjectFile:
        store, path = self._find(file.path)
        return ObjectFile(file=file, store=store, path=path, retry=self._retry)

    def stream(self, file: StoredFile, start: int, write: Callable[[bytes], None]) -> None:
        # A store does not say which version a range is of.
        opened = self.remote_file(file)
        opened.check()
        opened.stream(start, file.num_bytes, write)
        if start < file.num_bytes:
            opened.check()

    def _match(self, pattern: str) -> Iterable[StoredFile]:
        store, path = self._find(pattern)
        if not has_magic(path):
            info = _ask(pattern, lambda: store.info(path), self._retry)
            return [_describe(store, pattern, path, info)]
        if "file" in store.protocol:
            files = {name: store.info(name) for name in _reach(pattern, path)}
        else:
            matched = _ask(pattern, lambda: store.glob(path, detail=True), self._retry)
            files = {
                name: info
                for name, info in matched.items()
                if info["type"] == "file" and not _is_hidden(name, path)
            }
        if not files:
            raise InputError(f'from.url: "{pattern}" matches no file', "check the spelling")
        return [
            _describe(store, _address(store, pattern, name), name, info)
            for name, info in files.items()
        ]

    def _find(self, address: str) -> tuple[Any, str]:
        store = self._stores[host_of(address)]
        return store, store._strip_protocol(address)


def _reach(pattern: str, path: str) -> list[str]:
    """Return the files of this machine that a pattern reaches, by the rules of `path`."""
    reached = reach_files(Path("/"), path.removeprefix("/"))
    if reached.unreadable:
        lines = [f"\n  {one} {reason}" for one, reason in reached.unreadable.items()]
        raise InputError(
            f'from.url: "{pattern}" reaches what is no readable file:{"".join(lines)}',
            "restore it, or leave it out with a narrower pattern",
        )
    return [str(one) for one in reached.files]


def _is_hidden(path: str, pattern: str) -> bool:
    """Whether a path has names that begin with a dot, of which the pattern names none."""
    written = [part for part in pattern.split("/") if part.startswith(".")]
    return any(part.startswith(".") and not written for part in path.split("/"))


def open_object_folder(address: str, retry: RetryPolicy | None = None) -> RemoteFolder:
    """List the files below an address, or the one that is there; a folder without any is empty.

    Raises: InputError when they cannot be listed; ConfigError when nothing reads such addresses.
    """
    retry = retry or RetryPolicy()
    store = _open(address, f"{address}: got an address")
    root = store._strip_protocol(address)
    store.invalidate_cache()
    found = _ask(address, lambda: store.find(root, detail=True), retry)
    files = {}
    for path, info in sorted(found.items()):
        is_root = path == root
        name = path.rpartition("/")[2] if is_root else path.removeprefix(root).lstrip("/")
        file = _describe(store, address if is_root else f"{address}/{name}", path, info)
        files[name] = ObjectFile(file=file, store=store, path=path, retry=retry)
    is_file = address.endswith(".parquet")
    return RemoteFolder(
        where=address.rpartition("/")[0] if is_file else address,
        num_bytes={name: file.num_bytes for name, file in files.items()},
        remote_file=files.__getitem__,
        is_file=is_file,
    )


def local_path(address: str) -> Path:
    """Return the path that an address of this machine's own files names."""
    store = _open(address, f"{address}: got an address")
    return Path(store._strip_protocol(address))


def _ask(where: str, ask: Callable[[], Result], retry: RetryPolicy) -> Result:
    def attempt() -> Result:
        try:
            return ask()
        except Exception as error:
            raise _explain(where, error) from error

    return retry.run(where, attempt)


def _open(address: str, got: str) -> Any:
    scheme = urlsplit(address).scheme
    settings: dict[str, Any] = {}
    if scheme in _READ_BY_OBSTORE:
        with suppress(ImportError):
            from obstore.fsspec import register

            register(scheme)
            settings = settings_of(scheme)
    try:
        return url_to_fs(address, **settings)[0]
    except ImportError as error:
        raise ConfigError(
            f"{got}, which cannot be read: {error}",
            extra_of(scheme),
        ) from error
    except OSError as error:
        # Some stores connect as soon as they are made.
        raise NetworkError(f"{address}: got no answer: {error}", "check the address") from error
    except ValueError as error:
        raise ConfigError(
            f"{got}, expected one that can be read: {error}",
            "write one that begins with https:, s3: or gs:",
        ) from error


def _address(store: Any, pattern: str, path: str) -> str:
    """Return the address of a path that a pattern matches."""
    host = host_of(pattern)
    if "@" not in host:
        return without_secrets(store.unstrip_protocol(path))
    # Of abfs://container@account, a store's own addresses have no account.
    return f"{host}/{path.removeprefix(store._strip_protocol(host)).lstrip('/')}"


def _describe(store: Any, address: str, path: str, info: dict[str, Any]) -> StoredFile:
    # Of Azure, ETags have quotes in one answer and none in another.
    version = next((str(info[name]) for name in _VERSIONS if info.get(name)), None)
    if version is not None and "e_tag" in info:
        version = version.strip('"')
    if version is None:
        version = format(store.checksum(path), "x")
    return StoredFile(path=address, num_bytes=int(info["size"]), digest=f"etag:{version}")


def _changed(where: str, got: str, expected: str) -> MismatchError:
    return MismatchError(f"{where}: got {got}, expected {expected}", LOCK_AGAIN)


def _explain(where: str, error: Exception) -> Exception:
    """Return what to raise for an error of a store, which may wrap its cause several times."""
    causes = causes_of(error)
    reason = " ".join(str(causes[-1]).split()) or type(causes[-1]).__name__
    if any(isinstance(one, FileNotFoundError | IsADirectoryError) for one in causes):
        return InputError(f"{where}: got no such file: {reason}", "check the name")
    if any(
        isinstance(one, PermissionError) or _REFUSED.search(type(one).__name__) for one in causes
    ):
        return InputError(
            f"{where}: got {reason}, expected access to it",
            _S3_ACCESS if where.startswith("s3") else "log in as that store asks for it",
        )
    if any(isinstance(one, OSError) or _LOST.search(type(one).__name__) for one in causes):
        return TransientError(reason)
    return InputError(f"{where}: got {reason}, expected the file")
