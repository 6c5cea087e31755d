"""Record log: named records that many processes save, each in a file of its own that only grows.

A line has the sha256 of the rest, then the time, the name and the record, as JSON. What a crash
tore off or a disk has damaged is no record. At each look-up what logs have grown by is read, so
memory holds where each record is, some 170 bytes, and never the records.
"""

import os
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pipeline.core.digest import canonical_json, sha256_bytes
from pipeline.core.files import open_scratch, writing
from pipeline.core.json_record import parse_json

_SUFFIX: Final = ".log"
_MOST_LOG_BYTES: Final = 1 << 48
"""A place is one number: that of its log times this, plus where the record's line starts."""


class RecordLog:
    """The records of a folder, and the log that this process adds to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.own = _new_log(folder)
        self._num_read: dict[str, int] = {}
        """Bytes of each log, by name in the order of their numbers."""
        self._places: dict[int, tuple[int, ...]] = {}
        """By hash, since names take more than the rest, of which two may share one."""
        self._folders: set[str] = set()
        """The first part of each name."""
        # A worker of the user's cluster may have several threads.
        self._lock = threading.Lock()

    def add(self, records: Iterable[tuple[str, object]]) -> None:
        """Save records with their names; they are durable when `own` is. Raises: OutputError."""
        with writing(self.own), self._lock:
            self._folder.mkdir(parents=True, exist_ok=True)
            # Places in a log that the end of a build removed are not those in another.
            if not self.own.exists():
                self.own = _new_log(self._folder)
            with self.own.open("ab") as log:
                # A new line, since the last one may be torn, such as by a full disk.
                log.write(b"\n")
                log.writelines(record_line(name, record) for name, record in records)

    def find(self, name: str) -> Iterator[Any]:
        """Yield the records of a name that are intact, the last one first."""
        with self._lock:
            self._read_new()
            logs, places = [*self._num_read], self._places.get(hash(name), ())
        found = []
        for log, start in (divmod(place, _MOST_LOG_BYTES) for place in places):
            with suppress(OSError, ValueError):
                with open_scratch(self._folder / logs[log]) as file:
                    file.seek(start)
                    saved, named, record = _intact(file.readline()).split(b"\t")
                if parse_json(named) == name:
                    found.append((int(saved), logs[log], start, parse_json(record)))
        for *_, record in sorted(found, key=lambda one: one[:3], reverse=True):
            yield record

    def has_below(self, folder: str) -> bool:
        """Tell whether the first part of any name is this."""
        with self._lock:
            self._read_new()
            return folder in self._folders

    def _read_new(self) -> None:
        """Note where the records are by which the logs have grown."""
        try:
            with os.scandir(self._folder) as entries:
                sizes = {one.name: one.stat().st_size for one in entries if _is_log(one)}
        except OSError:
            sizes = {}  # There is none yet.
        if any(sizes.get(log, 0) < num_read for log, num_read in self._num_read.items()):
            # Removed by the end of a build, or cut off by a loss of power.
            self._num_read, self._places, self._folders = {}, {}, set()
        for log, size in sorted(sizes.items()):
            if size > self._num_read.get(log, 0):
                # What cannot be read is made again.
                with suppress(OSError):
                    self._read_log(log)

    def _read_log(self, log: str) -> None:
        start = self._num_read.setdefault(log, 0)
        first = [*self._num_read].index(log) * _MOST_LOG_BYTES
        with open_scratch(self._folder / log) as file:
            file.seek(start)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # It is being written.
                try:
                    _, _, named, _ = line.split(b"\t")
                    name = parse_json(named)
                    self._places[hash(name)] = (*self._places.get(hash(name), ()), first + start)
                    self._folders.add(name.partition("/")[0])
                except (ValueError, TypeError, AttributeError):
                    pass  # Torn or damaged.
                start += len(line)
        self._num_read[log] = start


@lru_cache(maxsize=8)
def open_log(folder: Path) -> RecordLog:
    """Return the record log of a folder, the same one in the whole process."""
    return RecordLog(folder)


def _new_log(folder: Path) -> Path:
    return folder / f"{uuid.uuid4().hex}{_SUFFIX}"


def _is_log(entry: "os.DirEntry[str]") -> bool:
    return entry.name.endswith(_SUFFIX) and entry.is_file()


def record_line(name: str, record: object) -> bytes:
    """Return a record as a log has it."""
    # No JSON of ours has a tab or a new line in it.
    rest = b"\t".join([b"%d" % time.time_ns(), canonical_json(name), canonical_json(record)])
    return sha256_bytes(rest).encode() + b"\t" + rest + b"\n"


def _intact(line: bytes) -> bytes:
    """Return a line without its digest: time, name and record. Raises: ValueError for damage."""
    digest, _, rest = line.removesuffix(b"\n").partition(b"\t")
    if sha256_bytes(rest).encode() != digest:
        raise ValueError("got a damaged record")
    return rest
