"""Stored chunk cache: the entries of a chunk cache in an object store.

Files are uploaded first and the record last, so that what has a record is whole. A store notes only
when something was written, so there an entry counts as last used when it was put.
"""

import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pipeline.core.digest import FileDigest
from pipeline.core.errors import NetworkError, OutputError
from pipeline.runner.chunk_cache import (
    ENTRIES,
    RECORD,
    ChunkCache,
    DamagedError,
    Entry,
    EntryRecord,
    parse_record,
    sealed,
    to_prune,
)
from pipeline.storage import is_store_address, map_concurrently, open_writable

_LOG = logging.getLogger(__name__)
_HEAD: Final = f"{ENTRIES}/"


def open_chunk_cache(place: str | Path) -> "ChunkCache | StoredChunkCache":
    """Open the cache in a folder or at an address of a store. Raises: as `open_writable`."""
    return StoredChunkCache(str(place)) if is_store_address(place) else ChunkCache(Path(place))


class StoredChunkCache:
    """The entries below an address; does what `ChunkCache` does."""

    def __init__(self, address: str) -> None:
        self._store = open_writable(address)

    def exists(self) -> bool:
        """Tell whether anything was ever put there. Raises: as `WritableStore.list`."""
        return bool(self._store.list(ENTRIES))

    def take(self, key: str, into: Path) -> EntryRecord | None:
        """Download the files of an entry into a new folder; as `ChunkCache.take`."""
        name = _name(key)
        try:
            data = self._store.get(f"{name}/{RECORD}")
            return None if data is None else self._take(parse_record(data, key), name, into)
        except DamagedError as error:
            _LOG.warning("cache: %s: %s; it is removed, and made again", self._where(name), error)
            self._remove(key)
        except (NetworkError, OutputError) as error:
            _LOG.warning("cache: %s: cannot be taken: %s", self._where(name), error.message)
        shutil.rmtree(into, ignore_errors=True)
        return None

    def put(
        self, key: str, about: str, content: object, files: Mapping[str, tuple[Path, FileDigest]]
    ) -> None:
        """Add an entry of some files, unless it is there. Raises: OutputError or NetworkError."""
        name = _name(key)
        if self._store.head(f"{name}/{RECORD}") is not None:
            return
        record = EntryRecord(
            key=key, about=about, content=content,
            files={path: file for path, (_, file) in sorted(files.items())},
        )  # fmt: skip
        map_concurrently(
            lambda path: self._store.put(f"{name}/{path}", files[path][0]), sorted(files)
        )
        self._store.put(f"{name}/{RECORD}", sealed(record))

    def entries(self) -> Iterator[Entry]:
        """Yield every entry, by key. Raises: as `WritableStore.get`."""
        for path, found in sorted(self._store.list(ENTRIES).items()):
            key = path.removesuffix(f"/{RECORD}").rpartition("/")[2]
            if path != f"{_name(key)}/{RECORD}":
                continue
            try:
                record = parse_record(self._store.get(path) or b"", key)
            except DamagedError:
                record = None
            yield Entry(key=key, record=record, used=found.modified.timestamp())

    def damage(self, entry: Entry) -> str | None:
        """Read an entry; return what is wrong with it, if anything."""
        if entry.record is None:
            return f"got a damaged {RECORD}"
        for path, file in entry.record.files.items():
            if self._store.hash(f"{_name(entry.key)}/{path}") != (file.num_bytes, file.sha256):
                return f"got damaged {path}"
        return None

    def prune(self, *, older_than: float | None, larger_than: int | None) -> list[Entry]:
        """Remove entries and return them; as `ChunkCache.prune`."""
        removed = to_prune(self.entries(), older_than=older_than, larger_than=larger_than)
        for one in removed:
            self._remove(one.key)
        return removed

    def _take(self, record: EntryRecord, name: str, into: Path) -> EntryRecord:
        def fetch(path: str) -> None:
            target = into / path
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._store.download(f"{name}/{path}", target)
            except FileNotFoundError as error:
                raise DamagedError(f"lacks {path}") from error
            if not record.files[path].matches(target):
                raise DamagedError(f"got damaged {path}")

        map_concurrently(fetch, sorted(record.files))
        return record

    def _remove(self, key: str) -> None:
        """Remove an entry, its record first, so that nobody finds a part of it."""
        name = _name(key)
        self._store.delete([f"{name}/{RECORD}"])
        self._store.delete(self._store.list(name))

    def _where(self, name: str) -> str:
        return self._store.where(name)


def _name(key: str) -> str:
    return f"{_HEAD}{key[:2]}/{key}"
