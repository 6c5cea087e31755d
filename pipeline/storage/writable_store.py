"""Writable store: a place in an object store of S3, Google or Azure that files are written to.

An object appears whole or not at all, and every write says which version it may replace. Requests
are repeated with a bound, and counted. Decision 18 says why `obstore` is what sends them.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache, partial
from os import environ
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from pipeline.core.errors import ConfigError, OutputError, PipelineError
from pipeline.core.files import writing
from pipeline.storage.retry import RetryPolicy, TransientError

Result = TypeVar("Result")

SCHEMES: Final = ("s3", "gs", "az", "abfs", "abfss")
_ACCESS: Final = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_ENDPOINT_URL for one like it",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account",
}
_AZURE_ACCESS: Final = "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"
# Of one request; a piece of a large object is 5 MiB.
_SECONDS: Final = timedelta(seconds=120)
_KEYS_AT_ONCE: Final = 1000
_PIECE_BYTES: Final = 1 << 20
_STATUS: Final = re.compile(r"status code: (\d{3})[^:]*(?:.*?<Code>(\w+)</Code>)?", re.DOTALL)
_MAY_PASS: Final = (408, 425, 429)
# Of what it is asked for, and what says why.
_CAUSE: Final = re.compile(r"Error performing .*? in [\d.]+\S+ - (.*?)(?:\n|$)")


class ChangedError(Exception):
    """An object is another than the one that a write may replace."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredObject:
    """What a store says of an object."""

    num_bytes: int
    version: str
    """Another one after each write: an ETag, or Google's generation, which no listing has."""
    modified: datetime
    """By the clock of the store."""


def is_store_address(where: object) -> bool:
    """Return whether this is an address of a store that can be written to."""
    return urlsplit(str(where)).scheme in SCHEMES and "://" in str(where)


class WritableStore:
    """The objects below an address, by name relative to it."""

    def __init__(self, address: str, retry: RetryPolicy | None = None) -> None:
        """Open a store; nothing is asked of it yet. Raises: ConfigError where nothing opens it."""
        self.address = address.rstrip("/")
        self._scheme = urlsplit(address).scheme
        self._retry = retry or RetryPolicy()
        self.num_repeated = 0
        """Requests that were sent once more."""
        self._api, self._store = _open(self.address, self._scheme)

    def put(self, name: str, data: bytes | Path) -> str:
        """Write an object, in place of any other; return its version.

        Raises: OutputError or NetworkError.
        """
        return self._put(name, data, "overwrite")

    def put_if_absent(self, name: str, data: bytes) -> str:
        """Write an object that does not exist. Raises: ChangedError if it does; as `put`."""
        return self._put(name, data, "create")

    def put_if(self, name: str, data: bytes, version: str) -> str:
        """Write an object in place of this version. Raises: ChangedError; as `put`."""
        is_google = self._scheme == "gs"
        mode = {"version": version} if is_google else {"e_tag": f'"{version}"'}
        return self._put(name, data, mode)

    def head(self, name: str) -> StoredObject | None:
        """Return what an object is; None where there is none. Raises: as `put`."""
        try:
            found = self._ask(name, lambda: self._api.head(self._store, name))
        except FileNotFoundError:
            return None
        return self._describe(found)

    def get(self, name: str) -> bytes | None:
        """Return an object; None where there is none. Raises: as `put`."""
        try:
            return self._ask(name, lambda: bytes(self._api.get(self._store, name).bytes()))
        except FileNotFoundError:
            return None

    def get_range(self, name: str, start: int, stop: int) -> bytes:
        """Return a part of an object. Raises: FileNotFoundError; as `put`."""
        read = partial(self._api.get_range, self._store, name, start=start, end=stop)
        return self._ask(name, lambda: bytes(read()))

    def download(self, name: str, path: Path, known: str | None = None) -> str | None:
        """Write an object to a path; return its version, or None if it has the `known` one.

        Raises: FileNotFoundError where there is none; OutputError for a full disk; as `put`.
        """
        options: dict[str, Any] = {}
        if known is not None and self._scheme != "gs":
            options = {"if_none_match": f'"{known}"'}

        def attempt() -> str | None:
            try:
                found = self._api.get(self._store, name, options=options)
            except self._api.exceptions.NotModifiedError:
                return None
            about = self._describe(found.meta)
            if about.version == known:
                return None
            with path.open("wb") as file:
                for piece in found.stream(min_chunk_size=_PIECE_BYTES):
                    with writing(path):
                        file.write(piece)
            if path.stat().st_size != about.num_bytes:
                raise TransientError(f"got {path.stat().st_size:,} of {about.num_bytes:,} bytes")
            return about.version

        return self._ask(name, attempt)

    def hash(self, name: str) -> tuple[int, str] | None:
        """Return size and sha256 of an object; None where there is none. Raises: as `put`."""

        def attempt() -> tuple[int, str]:
            hasher, num_bytes = hashlib.sha256(), 0
            for piece in self._api.get(self._store, name).stream(min_chunk_size=_PIECE_BYTES):
                hasher.update(piece)
                num_bytes += len(piece)
            return num_bytes, hasher.hexdigest()

        try:
            return self._ask(name, attempt)
        except FileNotFoundError:
            return None

    def list(self, folder: str = "") -> dict[str, StoredObject]:
        """Return the objects below a folder, or all. A store may list a fresh one late.

        Raises: as `put`.
        """

        def attempt() -> dict[str, StoredObject]:
            pages: Iterator[Any] = self._api.list(self._store, prefix=folder or None)
            return {one["path"]: self._describe(one) for page in pages for one in page}

        return self._ask(folder, attempt)

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; one that does not exist is fine. Raises: as `put`."""
        left = sorted(names)
        for start in range(0, len(left), _KEYS_AT_ONCE):
            some = left[start : start + _KEYS_AT_ONCE]
            try:
                self._ask(some[0], partial(self._api.delete, self._store, some))
            except FileNotFoundError:
                # Azure's names the first that is gone, and may have left others.
                for name in some:
                    with suppress(FileNotFoundError):
                        self._ask(name, partial(self._api.delete, self._store, name))

    def where(self, name: str) -> str:
        return f"{self.address}/{name}".rstrip("/")

    def _put(self, name: str, data: bytes | Path, mode: Any) -> str:
        def attempt() -> Any:
            if isinstance(data, Path) and not data.exists():
                raise TransientError("got a file that another process is replacing")
            return self._api.put(self._store, name, data, mode=mode)

        try:
            put = self._ask(name, attempt)
        except FileNotFoundError as error:
            raise OutputError(
                f"{self.where(name)}: cannot be written: the store has no such bucket",
                "make the bucket, or check its name",
            ) from error
        return self._version(put)

    def _ask(self, name: str, ask: Callable[[], Result]) -> Result:
        tries = 0

        def attempt() -> Result:
            nonlocal tries
            tries += 1
            self.num_repeated += tries > 1
            try:
                return ask()
            except (PipelineError, TransientError, FileNotFoundError):
                raise
            except Exception as error:
                raise self._explain(name, error) from error

        return self._retry.run(self.where(name), attempt)

    def _explain(self, name: str, error: Exception) -> Exception:
        errors = self._api.exceptions
        if isinstance(error, errors.AlreadyExistsError | errors.PreconditionError):
            return ChangedError(self.where(name))
        found = _STATUS.search(str(error))
        status, code = (int(found[1]), found[2]) if found else (0, None)
        if found is None:
            cause = _CAUSE.search(str(error))
            reason = cause[1] if cause else str(error).partition("\n")[0]
        else:
            reason = f"the status {status}" + (f", {code}" if code else "")
        refused = errors.PermissionDeniedError | errors.UnauthenticatedError
        if isinstance(error, refused) or status in (401, 403):
            return OutputError(
                f"{self.where(name)}: got {reason}, expected access to it",
                _ACCESS.get(self._scheme, _AZURE_ACCESS),
            )
        if 400 <= status < 500 and status not in _MAY_PASS:
            return OutputError(f"{self.where(name)}: got {reason}, expected the store to take it")
        return TransientError(f"got {reason}")

    def _describe(self, found: Any) -> StoredObject:
        return StoredObject(
            num_bytes=found["size"], version=self._version(found), modified=found["last_modified"]
        )

    def _version(self, found: Any) -> str:
        # In a listing of Azure, ETags have no quotes.
        version = found["version"] if self._scheme == "gs" else found["e_tag"]
        return str(version or "").strip('"')


@lru_cache(maxsize=16)
def open_writable(address: str) -> WritableStore:
    """Open a store, the same one in the whole process. Raises: as `WritableStore`."""
    return WritableStore(address)


def extra_of(scheme: str) -> str:
    """Return how to install what reads and writes stores of a kind."""
    if scheme not in SCHEMES:
        return "install what it names"
    return f'pip install "ettin-data[{scheme if scheme in ("s3", "gs") else "az"}]"'


def settings_of(scheme: str) -> dict[str, Any]:
    """Return how to reach stores of a kind, beside what `obstore` reads of the environment."""
    config: dict[str, Any] = {}
    if scheme == "gs" and "STORAGE_EMULATOR_HOST" in environ:
        host = environ["STORAGE_EMULATOR_HOST"]
        url = host if "://" in host else f"http://{host}"
        # Of no use anywhere else: it says that nothing is to be signed.
        key = {"client_email": "", "private_key": "", "private_key_id": ""}
        about = {"gcs_base_url": url, "disable_oauth": True, **key}
        config = {"service_account_key": json.dumps(about)}
    # An endpoint of http is one that somebody has named.
    return {"config": config, "client_options": {"allow_http": True, "timeout": _SECONDS}}


def _open(address: str, scheme: str) -> tuple[Any, Any]:
    try:
        import obstore
        from obstore.store import from_url
    except ImportError as error:
        raise ConfigError(
            f"{address}: got an address of a store, which nothing here can write to: {error}",
            extra_of(scheme),
        ) from error
    try:
        store = from_url(
            address,
            **settings_of(scheme),
            # Repeated here, where it is counted.
            retry_config={"max_retries": 0, "retry_timeout": _SECONDS},
        )
    except Exception as error:
        raise ConfigError(
            f"{address}: got an address that cannot be opened: {' '.join(str(error).split())}",
            "write it as s3://BUCKET/FOLDER, gs://BUCKET/FOLDER or az://CONTAINER/FOLDER",
        ) from error
    return obstore, store
