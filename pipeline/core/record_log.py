"""Record log: named records that many processes save, each in a file of its own that only grows.

A line has the sha256 of the rest, then the time, the name and the record, as JSON. What a crash
tore off or a disk has damaged is no record. At each look-up what logs have grown by is read, so
memory holds where each record is, some 300 bytes, and never the records.
"""

import os
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pipeline.core.digest import canonical_json, sha256_bytes
from pipeline.core.files import open_scratch, writing
from pipeline.core.json_record import parse_json

_SUFFIX: Final = ".log"
_Place = tuple[int, str, int, int]
"""When a record was saved, in which log, where its line starts and how long that is."""


class RecordLog:
    """The records of a folder, and the log that this process adds to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.own = _new_log(folder)
        self._num_read: dict[str, int] = {}
        self._places: defaultdict[str, list[_Place]] = defaultdict(list)
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
                log.writelines(_line(name, record) for name, record in records)

    def find(self, name: str) -> Iterator[Any]:
        """Yield the records of a name that are intact, the last one first."""
        with self._lock:
            self._read_new()
            places = sorted(self._places.get(name, ()), reverse=True)
        for _, log, start, num_bytes in places:
            try:
                with open_scratch(self._folder / log) as file:
                    file.seek(start)
                    rest = _intact(file.read(num_bytes))
                _, named, record = rest.split(b"\t")
                if parse_json(named) == name:
                    yield parse_json(record)
            except (OSError, ValueError):
                continue

    def has_below(self, prefix: str) -> bool:
        """Tell whether any name begins with a prefix."""
        with self._lock:
            self._read_new()
            return any(name.startswith(prefix) for name in self._places)

    def _read_new(self) -> None:
        """Note where the records are by which the logs have grown."""
        try:
            with os.scandir(self._folder) as entries:
                sizes = {one.name: one.stat().st_size for one in entries if _is_log(one)}
        except OSError:
            sizes = {}  # There is none yet.
        if any(sizes.get(log, 0) < num_read for log, num_read in self._num_read.items()):
            # Removed by the end of a build, or cut off by a loss of power.
            self._num_read, self._places = {}, defaultdict(list)
        for log, size in sorted(sizes.items()):
            if size > self._num_read.get(log, 0):
                # What cannot be read is made again.
                with suppress(OSError):
                    self._read_log(log)

    def _read_log(self, log: str) -> None:
        start = self._num_read.get(log, 0)
        with open_scratch(self._folder / log) as file:
            file.seek(start)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # It is being written.
                try:
                    _, saved, named, _ = line.split(b"\t")
                    self._places[parse_json(named)].append((int(saved), log, start, len(line)))
                except (ValueError, TypeError):
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


def _line(name: str, record: object) -> bytes:
    # No JSON of ours has a tab or a new line in it.
    rest = b"\t".join([b"%d" % time.time_ns(), canonical_json(name), canonical_json(record)])
    return sha256_bytes(rest).encode() + b"\t" + rest + b"\n"


def _intact(line: bytes) -> bytes:
    """Return a line without its digest: time, name and record. Raises: ValueError for damage."""
    digest, _, rest = line.removesuffix(b"\n").partition(b"\t")
    if sha256_bytes(rest).encode() != digest:
        raise ValueError("got a damaged record")
    return rest
