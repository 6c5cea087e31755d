"""Files of a store that `fsspec` knows: s3, gs, file, and many more.

Enters: addresses, with braces and wildcards. Leaves: each file's size and version, as the store
tells them, and its bytes by ranges. What a store finds wrong is told in the words of the first
cause, since its own errors wrap one another.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from glob import has_magic
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from fsspec.core import url_to_fs

from pipeline.config import Origin
from pipeline.core.errors import ConfigError, InputError, MismatchError
from pipeline.storage.http import RetryPolicy, TransientError, persist
from pipeline.storage.patterns import expand_braces
from pipeline.storage.store import StoredFile

Result = TypeVar("Result")

# A store answers each range in tens of milliseconds; eight pulls at once hold 64 MiB.
_PIECE_BYTES = 8 << 20
_NUM_ASKED_AT_ONCE = 16
_VERSIONS = ("ETag", "etag", "md5Hash", "content_md5")
# Errors of a connection that are no OSError, by the names that the backends give them.
_LOST = re.compile("Connect|Timeout|Payload")
_S3_ACCESS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or FSSPEC_S3_ANON=true for what is public"
)


class ObjectStore:
    """Files of stores; they have no revision."""

    revision = None

    def __init__(
        self,
        origin: Origin,
        folder: Path,
        revision: str | None,
        patience: RetryPolicy | None = None,  # Another one than the usual is for tests.
    ) -> None:
        """Find what reads the addresses; nothing is asked yet.

        Raises: ConfigError when nothing does, or it is not installed.
        """
        assert origin.url is not None
        self._patterns = sorted({url for pattern in origin.url for url in expand_braces(pattern)})
        self._patience = patience or RetryPolicy()
        self._stores: dict[str, Any] = {}
        for pattern in self._patterns:
            if _place(pattern) not in self._stores:
                self._stores[_place(pattern)] = _open(pattern, f"from.url: got {pattern}")

    def list(self) -> tuple[StoredFile, ...]:
        """Return the files, sorted by address.

        Raises: InputError when they cannot be listed, or an address matches nothing.
        """
        for store in self._stores.values():
            store.invalidate_cache()
        with ThreadPoolExecutor(_NUM_ASKED_AT_ONCE) as pool:
            try:
                found = {
                    file.path: file
                    for part in pool.map(self._match, self._patterns)
                    for file in part
                }
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return tuple(found[path] for path in sorted(found))

    def receive(self, file: StoredFile, start: int, keep: Callable[[bytes], None]) -> None:
        """Hand on the bytes of a file from `start` to its end.

        Raises: InputError; MismatchError for another version, some of which may have come.
        A store does not say which version a range is of, so it is asked before and after.
        """
        self._check(file)
        store, path = self._find(file.path)
        for first in range(start, file.num_bytes, _PIECE_BYTES):
            stop = min(first + _PIECE_BYTES, file.num_bytes)
            piece = self._persist(file.path, partial(store.cat_file, path, start=first, end=stop))
            if len(piece) != stop - first:
                raise _changed(file.path, f"{len(piece):,} bytes", f"{stop - first:,}")
            keep(piece)
        if start < file.num_bytes:
            self._check(file)

    def _match(self, pattern: str) -> Sequence[StoredFile]:
        store, path = self._find(pattern)
        if not has_magic(path):
            info = self._persist(pattern, lambda: store.info(path))
            return [_describe(store, pattern, path, info)]
        matched = self._persist(pattern, lambda: store.glob(path, detail=True))
        files = {name: info for name, info in matched.items() if info["type"] == "file"}
        if not files:
            raise InputError(f'from.url: "{pattern}" matches no file', "check the spelling")
        described = []
        for name, info in files.items():
            address = store.unstrip_protocol(name)
            described.append(_describe(store, address, name, info))
        return described

    def _check(self, file: StoredFile) -> None:
        store, path = self._find(file.path)
        store.invalidate_cache(path)
        info = self._persist(file.path, lambda: store.info(path))
        found = _describe(store, file.path, path, info)
        if (found.num_bytes, found.digest) != (file.num_bytes, file.digest):
            raise _changed(
                file.path,
                f"{found.num_bytes:,} bytes, {found.digest}",
                f"{file.num_bytes:,} bytes, {file.digest}",
            )

    def _find(self, address: str) -> tuple[Any, str]:
        store = self._stores[_place(address)]
        return store, store._strip_protocol(address)

    def _persist(self, where: str, ask: Callable[[], Result]) -> Result:
        return _persist(where, ask, self._patience)


@dataclass(frozen=True, kw_only=True)
class ObjectFile:
    """A file of a store."""

    where: str
    """Its address."""
    num_bytes: int
    """How long it is."""
    digest: str
    """Which version it is, as the store tells it."""
    _store: Any
    _path: str
    _patience: RetryPolicy

    def receive(
        self, start: int, stop: int, keep: Callable[[bytes], None], *, takes_whole: bool = False
    ) -> None:
        """Hand on the bytes from `start` to `stop`, each once; every store knows ranges.

        Raises: InputError; MismatchError for a piece of another length.
        """
        for first in range(start, stop, _PIECE_BYTES):
            last = min(first + _PIECE_BYTES, stop)
            ask = partial(self._store.cat_file, self._path, start=first, end=last)
            piece = _persist(self.where, ask, self._patience)
            if len(piece) != last - first:
                raise _changed(self.where, f"{len(piece):,} bytes", f"{last - first:,}")
            keep(piece)


def list_objects(address: str, patience: RetryPolicy | None = None) -> dict[str, ObjectFile]:
    """Return the files below an address, or the one that is there, by path below, sorted.

    Raises: InputError when they cannot be listed; ConfigError when nothing reads such addresses.
    """
    patience = patience or RetryPolicy()
    store = _open(address, f"{address}: got an address")
    root = store._strip_protocol(address)
    store.invalidate_cache()
    found = _persist(address, lambda: store.find(root, detail=True), patience)
    files = {}
    for path, info in sorted(found.items()):
        is_root = path == root
        name = path.rpartition("/")[2] if is_root else path.removeprefix(root).lstrip("/")
        where = address if is_root else f"{address}/{name}"
        told = _describe(store, where, path, info)
        files[name] = ObjectFile(
            where=where,
            num_bytes=told.num_bytes,
            digest=told.digest,
            _store=store,
            _path=path,
            _patience=patience,
        )
    return files


def local_path(address: str) -> Path:
    """Return the path that an address of this machine's own files names."""
    store = _open(address, f"{address}: got an address")
    return Path(store._strip_protocol(address))


def _persist(where: str, ask: Callable[[], Result], patience: RetryPolicy) -> Result:
    def attempt() -> Result:
        try:
            return ask()
        except Exception as error:
            raise _explain(where, error) from error

    return persist(where, attempt, patience)


def _place(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


def _open(address: str, told: str) -> Any:
    scheme = urlsplit(address).scheme
    try:
        return url_to_fs(address)[0]
    except ImportError as error:
        raise ConfigError(
            f"{told}, which cannot be read: {error}",
            'pip install "ettin-data[s3]"' if scheme == "s3" else "install what it names",
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"{told}, expected one that can be read: {error}",
            "write one that begins with https:, s3: or gs:",
        ) from error


def _describe(store: Any, address: str, path: str, info: dict[str, Any]) -> StoredFile:
    version = next((str(info[name]) for name in _VERSIONS if info.get(name)), None)
    if version is None:
        version = format(store.checksum(path), "x")
    return StoredFile(path=address, num_bytes=int(info["size"]), digest=f"etag:{version}")


def _changed(where: str, got: str, expected: str) -> MismatchError:
    return MismatchError(
        f"{where}: got {got}, expected {expected}",
        "the file at its origin is another one now; lock again to take it as it is",
    )


def _explain(where: str, error: Exception) -> Exception:
    """Return what to raise for an error of a store."""
    causes = list(_causes(error))
    reason = " ".join(str(causes[-1]).split()) or type(causes[-1]).__name__
    if any(isinstance(one, FileNotFoundError | IsADirectoryError) for one in causes):
        return InputError(f"{where}: got no such file: {reason}", "check the name")
    if any(
        isinstance(one, PermissionError) or "Credential" in type(one).__name__ for one in causes
    ):
        return InputError(
            f"{where}: got {reason}, expected access to it",
            _S3_ACCESS if where.startswith("s3") else "log in as that store asks for it",
        )
    if any(isinstance(one, OSError) or _LOST.search(type(one).__name__) for one in causes):
        return TransientError(reason)
    return InputError(f"{where}: got {reason}, expected the file")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what led to it, the first cause last."""
    following: BaseException | None = error
    while following is not None:
        yield following
        following = following.__cause__ or following.__context__
