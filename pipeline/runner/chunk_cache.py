"""Chunk cache: files by what decides their bytes, in a folder that any number of builds share.

An entry is a folder of read-only files with a record of their digests, published as a whole. Files
are taken as hard links where that can be, and each is hashed then, so that damage goes no further.
"""

import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import Any, Final

from pipeline.core.digest import FileDigest, canonical_json, sha256_bytes
from pipeline.core.files import publish
from pipeline.core.json_record import from_json, parse_json, to_json
from pipeline.core.shown import printable

_LOG = logging.getLogger(__name__)
ENTRIES: Final = "chunks"
RECORD: Final = "entry.json"
_SCRATCH: Final = ".partial"
_KEY: Final = re.compile("[0-9a-f]{64}")
_READ_ONLY: Final = 0o444
# What a killed build was writing; one that lives takes no longer for an entry.
_SCRATCH_SECONDS: Final = 24 * 60 * 60


@dataclass(frozen=True, kw_only=True, slots=True)
class EntryRecord:
    """What an entry is."""

    key: str
    """Fingerprint of all that decides the bytes of its files."""
    about: str
    """What it was first made for, for people."""
    content: Any
    """JSON values of whoever put it there."""
    files: Mapping[str, FileDigest]
    """By path relative to the entry."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """An entry as it is found."""

    key: str
    record: EntryRecord | None
    """None if it is damaged."""
    used: float
    """When it was last put or taken, in seconds since the epoch."""

    @property
    def about(self) -> str:
        return self.record.about if self.record else "(damaged)"

    @property
    def num_files(self) -> int:
        return len(self.record.files) if self.record else 0

    @property
    def num_bytes(self) -> int:
        return sum(file.num_bytes for file in self.record.files.values()) if self.record else 0


class DamagedError(Exception):
    """An entry is not what its record says."""


class ChunkCache:
    """The entries in a folder, which is made when the first is put there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._scratch = folder / _SCRATCH

    def exists(self) -> bool:
        """Tell whether anything was ever put there."""
        return (self._folder / ENTRIES).is_dir()

    def take(self, key: str, into: Path) -> EntryRecord | None:
        """Put the files of an entry into a new folder; return its record, None if there is none.

        Damage is said in the log and removed, and what is there of `into` then is of no use.
        """
        folder = self._folder_of(key)
        try:
            record = _take(folder, key, into)
        except DamagedError as error:
            _LOG.warning("cache: %s: %s; it is removed, and made again", folder, error)
            self._remove(folder)
            return None
        except OSError as error:
            _LOG.warning("cache: %s: cannot be taken: %s", folder, error.strerror)
            return None
        if record is not None:
            # Where one may only read, nobody looks for what was used last.
            with suppress(OSError):
                os.utime(folder / RECORD)
        return record

    def put(
        self, key: str, about: str, content: object, files: Mapping[str, tuple[Path, FileDigest]]
    ) -> None:
        """Add an entry of some files, by their names there, unless it is there.

        They become read-only, since they are the same files then, where they can be.

        Raises: OutputError or OSError where it cannot be written; nothing half-written is left.
        """
        folder = self._folder_of(key)
        if (folder / RECORD).exists():
            return
        record = EntryRecord(
            key=key, about=about, content=content,
            files={name: file for name, (_, file) in sorted(files.items())},
        )  # fmt: skip
        # What a loss of power leaves behind is found by its digest.
        with publish(folder, self._scratch, syncs=False) as temporary:
            for name, (path, _) in files.items():
                target = temporary / name
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(path, target)
                target.chmod(_READ_ONLY)
            temporary.mkdir(exist_ok=True)
            (temporary / RECORD).write_bytes(sealed(record))
            (temporary / RECORD).chmod(_READ_ONLY)

    def entries(self) -> Iterator[Entry]:
        """Yield every entry, by key."""
        for folder in sorted((self._folder / ENTRIES).glob("??/*")):
            if _KEY.fullmatch(folder.name):
                with suppress(OSError):
                    record = None
                    with suppress(DamagedError):
                        record = _read(folder, folder.name)
                    used = (folder / RECORD if record else folder).stat().st_mtime
                    yield Entry(key=folder.name, record=record, used=used)

    def damage(self, entry: Entry) -> str | None:
        """Read an entry; return what is wrong with it, if anything."""
        if entry.record is None:
            return f"got a damaged {RECORD}"
        for name, file in entry.record.files.items():
            path = self._folder_of(entry.key) / name
            if path.is_symlink() or not file.matches(path):
                return f"got damaged {name}"
        return None

    def prune(self, *, older_than: float | None, larger_than: int | None) -> list[Entry]:
        """Remove entries and return them: damaged ones, and those that were used longest ago.

        older_than: seconds; what was not used for as long goes. larger_than: bytes that may stay.
        """
        removed = to_prune(self.entries(), older_than=older_than, larger_than=larger_than)
        for one in removed:
            self._remove(self._folder_of(one.key))
        self._remove_scratch()
        return removed

    def _folder_of(self, key: str) -> Path:
        return self._folder / ENTRIES / key[:2] / key

    def _remove(self, folder: Path) -> None:
        """Remove an entry at once, so that nobody finds a part of it; not where it may not be."""
        away = self._scratch / uuid.uuid4().hex
        with suppress(OSError):
            self._scratch.mkdir(exist_ok=True)
            folder.rename(away)
            os.utime(away)
        shutil.rmtree(away, ignore_errors=True)

    def _remove_scratch(self) -> None:
        for path in self._scratch.glob("*"):
            with suppress(OSError):
                if path.stat().st_mtime < time.time() - _SCRATCH_SECONDS:
                    shutil.rmtree(path)


def to_prune(
    entries: Iterable[Entry], *, older_than: float | None, larger_than: int | None
) -> list[Entry]:
    """Return which entries go, as `ChunkCache.prune` says."""
    found = sorted(entries, key=lambda one: (one.used, one.key))
    left, oldest = sum(one.num_bytes for one in found), time.time() - (older_than or 0)
    removed = []
    for one in found:
        is_old = older_than is not None and one.used < oldest
        is_beyond = larger_than is not None and left > larger_than
        if one.record is None or is_old or is_beyond:
            removed.append(one)
            left -= one.num_bytes
    return removed


def _take(folder: Path, key: str, into: Path) -> EntryRecord | None:
    """Take an entry as `ChunkCache.take` does. Raises: DamagedError, OSError."""
    for is_last in (False, True):
        record = _read(folder, key)
        try:
            for name, file in record.files.items() if record else ():
                target = into / name
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(folder / name, target)
                if not file.matches(target):
                    raise DamagedError(f"got damaged {name}")
        except FileNotFoundError as error:
            # Another build may have put the same there just now, or a person have removed it.
            shutil.rmtree(into, ignore_errors=True)
            if is_last:
                raise DamagedError(f"lacks {printable(Path(error.filename).name)}") from error
        else:
            return record
    return None


def _read(folder: Path, key: str) -> EntryRecord | None:
    """Read the record of an entry; None if there is none. Raises: DamagedError, OSError."""
    path = folder / RECORD
    try:
        if not S_ISREG(path.lstat().st_mode):
            raise DamagedError(f"got no file {RECORD}")
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return parse_record(data, key)


def parse_record(data: bytes, key: str) -> EntryRecord:
    """Return the record of an entry from what `sealed` made. Raises: DamagedError."""
    digest, _, data = data.partition(b"\n")
    try:
        record = from_json(EntryRecord, parse_json(data))
    except ValueError as error:
        raise DamagedError(f"got a damaged {RECORD}") from error
    is_below = all(map(_is_below, record.files))
    if digest != sha256_bytes(data).encode() or record.key != key or not is_below:
        raise DamagedError(f"got a damaged {RECORD}")
    return record


def _is_below(name: str) -> bool:
    """Tell whether a path leads to something below where it starts. Pure."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts


def sealed(record: EntryRecord) -> bytes:
    """Return a record as it is stored, behind its digest."""
    data = canonical_json(to_json(record))
    return sha256_bytes(data).encode() + b"\n" + data


def _link(source: Path, target: Path) -> None:
    """Link a file, or copy it: to another file system, or where links may not be made.

    Raises: DamagedError for what is no file; OSError, FileNotFoundError if there is nothing.
    """
    if not S_ISREG(source.lstat().st_mode):
        raise DamagedError(f"got no file {printable(source.name)}")
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)
