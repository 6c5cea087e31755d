"""Mirror: a folder on this machine's disk, and the place in a store that it stands for.

What tasks have made is uploaded before their records; what is read and not here is downloaded. Of
each file here its extended attributes have the version that the store knows it by.
"""

import logging
import os
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.core.errors import OutputError, PipelineError
from pipeline.core.mirrored import register, unregister
from pipeline.storage.lease import LEASE, check_held
from pipeline.storage.retry import map_concurrently
from pipeline.storage.writable_store import StoredObject, WritableStore, open_writable

_LOG = logging.getLogger(__name__)
_ATTRIBUTE: Final = "user.ettin-data.version"
_STATE: Final = ".ettin"
# Never in the store by their own names: what is being written, and logs, of which records are.
_OWN: Final = (f"{_STATE}/tmp", f"{_STATE}/records")
_UPLOADS_AT_ONCE: Final = 4


@dataclass(frozen=True, kw_only=True)
class StoreMirror:
    """A folder that is written to, or only read."""

    folder: Path
    address: str
    token: str | None
    """That of the lease; None where nothing is written."""
    shares: bool
    """Whether other machines write to the store meanwhile, so that what is here may be old."""
    records: tuple[Path, ...] = ()
    """Folders of records of earlier runs."""

    @property
    def store(self) -> WritableStore:
        return open_writable(self.address)

    def fetch(self, path: Path, *, anew: bool = False) -> None:
        is_here = path.is_file()
        name = self._name(path)
        if (is_here and not (self.shares or anew)) or _is_own(name) or path.is_dir():
            return
        known = self._version(path) if is_here else None
        temporary = self._temporary()
        try:
            version = self.store.download(name, temporary, known)
        except FileNotFoundError:
            # What was never there is of this process, and not published.
            if known:
                path.unlink(missing_ok=True)
            return
        if version is not None:
            self._mark(temporary, name, version)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.rename(path)

    def publish(self, path: Path) -> None:
        if self.shares:
            self._upload(_files(path))

    def remove(self, *paths: Path) -> None:
        names = {self._name(path) for path in paths}
        self.store.delete(names - {LEASE})

    def remove_below(self, folder: Path) -> None:
        self.remove(*(folder / name for name in self.sizes(folder)))

    def save(self, paths: list[Path]) -> dict[Path, str]:
        self.check_held()
        return self._upload(paths)

    def has(self, path: Path, version: str) -> bool:
        found = self.store.head(self._name(path))
        if found is None or found.version != version:
            return False
        if path.is_file() and self._version(path) != version:
            path.unlink()
        return True

    def add_records(self, folder: Path, lines: bytes | Path) -> None:
        self.store.put(f"{self._name(folder)}/{uuid.uuid4().hex}.log", lines)

    def finish(self, out: Path, last: Path, sizes: Mapping[str, int]) -> None:
        self.check_held()
        stored = self._list(out)
        for name, num_bytes in sorted(sizes.items()):
            path = out / name
            found = stored.get(self._name(path))
            # A fresh object may not be listed yet, or without its version.
            found = found if found and found.version else self.store.head(self._name(path))
            if path.is_file():
                if found is None or found.version != self._version(path):
                    self._put(path)
            elif found is None or found.num_bytes != num_bytes:
                raise OutputError(
                    f"{path}: is not as it was written",
                    "run the same command again: what is damaged is made again",
                )
        self.check_held()
        self._put(last)

    def sizes(self, folder: Path) -> dict[str, int]:
        found = self._list(folder)
        inside = {self.folder / name: one.num_bytes for name, one in sorted(found.items())}
        return {path.relative_to(folder).as_posix(): size for path, size in inside.items()}

    def hash(self, path: Path) -> tuple[int, str] | None:
        return self.store.hash(self._name(path))

    def check_held(self) -> None:
        """Insist that nobody else writes here. Raises: OutputError."""
        assert self.token is not None
        check_held(self.store, self.token)

    def open(self) -> None:
        """Use the folder in this process, with the records of what earlier runs have made."""
        self.folder.mkdir(parents=True, exist_ok=True)
        register(self)

    @contextmanager
    def using(self) -> Iterator[None]:
        """Use the folder while the block lasts; errors then name the address in its place."""
        self.open()
        try:
            yield
        except PipelineError as error:
            texts = [
                text and text.replace(str(self.folder), self.address)
                for text in (error.message, error.hint)
            ]
            error.message, error.hint = texts[0] or "", texts[1]
            error.args = (*texts, *error.args[2:])
            raise
        finally:
            self.leave()

    def leave(self) -> None:
        unregister(self.folder)
        if self.store.num_repeated:
            _LOG.warning("%s: %d requests were repeated", self.address, self.store.num_repeated)

    def join(self) -> None:
        self.open()
        for folder in self.records if self.shares else ():
            self.fetch_records(folder)

    def fetch_records(self, folder: Path) -> None:
        """Bring all records of a folder here, as one log. Raises: as `WritableStore.get`."""
        names = sorted(self.store.list(self._name(folder)))
        if not names:
            return
        folder.mkdir(parents=True, exist_ok=True)
        temporary = self._temporary()
        with temporary.open("wb") as log:
            log.writelines(b"\n" + (one or b"") for one in map_concurrently(self.store.get, names))
        temporary.rename(folder / f"{uuid.uuid4().hex}.log")

    def _upload(self, paths: list[Path]) -> dict[Path, str]:
        with ThreadPoolExecutor(_UPLOADS_AT_ONCE) as pool:
            return dict(zip(paths, pool.map(self._upload_one, paths), strict=True))

    def _upload_one(self, path: Path) -> str:
        known = self._version(path)
        if known or not path.is_file():
            # A link to a file of a cache may know of an object that is gone.
            found = self.store.head(self._name(path))
            if found is not None and known in (None, found.version):
                return found.version  # Without a file, of a task on another machine.
        return self._put(path)

    def _put(self, path: Path) -> str:
        name = self._name(path)
        version = self.store.put(name, path)
        self._mark(path, name, version)
        return version

    def _version(self, path: Path) -> str | None:
        """Return the version that the store knows a file by; None where it does not."""
        try:
            of, _, version = os.getxattr(path, _ATTRIBUTE).decode().rpartition(" ")
        except (OSError, AttributeError):
            return None
        # It may be a link to a file of a cache, which is uploaded to many places.
        return version if of == self.store.where(self._name(path)) else None

    def _mark(self, path: Path, name: str, version: str) -> None:
        # Without such attributes, what is here is uploaded, and compared, more often.
        with suppress(OSError, AttributeError):
            mark = f"{self.store.where(name)} {version}"
            os.setxattr(path, _ATTRIBUTE, mark.encode())

    def _list(self, folder: Path) -> dict[str, StoredObject]:
        return self.store.list("" if folder == self.folder else self._name(folder))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _temporary(self) -> Path:
        fetched = self.folder.parent / "fetched"
        fetched.mkdir(parents=True, exist_ok=True)
        return fetched / uuid.uuid4().hex


def _files(path: Path) -> list[Path]:
    return sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]


def _is_own(name: str) -> bool:
    return any(f"/{one}/" in f"/{name}" for one in _OWN)
