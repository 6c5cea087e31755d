"""A disk with fault injection: it stands between the package and every change of a folder.

Operations are counted as they come: each file opened for writing, write, truncation, fsync, syncfs,
rename, unlink, mkdir and rmdir below the folder. A fault strikes at one of them. What `fsync` or
`syncfs` did not make durable is kept apart, so that a loss of power can take it back: data of a
file by its inode, names of a folder by those of its entries that changed. No record of a task may
name what is not durable; `complaints` lists those that do.
"""

import errno
import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core import file_system
from pipeline.sources.download import part_file

from .passes import files_recorded

_BLOCK_BYTES = 256
_NUMBERS = count()
_OPERATIONS = frozenset(
    ("open", "write", "truncate", "fsync", "syncfs", "rename", "unlink", "mkdir", "rmdir")
)


class Stopped(BaseException):
    """The process is no more: nothing may catch this, and nothing is changed after it."""


class Fault:
    """A kill: the process ends at an operation, and the disk keeps all that was written."""

    name = "stop"
    strikes_at = _OPERATIONS
    goes_on = False
    """Whether it strikes at every operation from the first on."""

    def strike(self, disk: "Disk", path: str) -> bool:
        """Do what it does; return whether a write is to be short."""
        disk.is_stopped = True
        raise Stopped

    def lose(self, disk: "Disk") -> None:
        """Take back what is not durable."""


class LostData(Fault):
    """A loss of power, after which data that no sync made durable are gone."""

    name = "lost data"

    def lose(self, disk: "Disk") -> None:
        for path in Path(disk.folder).rglob("*"):
            found = path.lstat()
            length = disk.durable_bytes.get((found.st_dev, found.st_ino))
            if length is not None and stat.S_ISREG(found.st_mode):
                os.truncate(path, min(length, found.st_size))


class TornData(Fault):
    """A loss of power, after which every other block that no sync made durable is zero.

    Sizes and times are there: file systems that allocate late write those first.
    """

    name = "torn data"

    def lose(self, disk: "Disk") -> None:
        for path in Path(disk.folder).rglob("*"):
            found = path.lstat()
            length = disk.durable_bytes.get((found.st_dev, found.st_ino))
            if length is None or not stat.S_ISREG(found.st_mode):
                continue
            content = bytearray(path.read_bytes())
            first = length // _BLOCK_BYTES + (disk.at or 0) % 2
            for block in range(first, -(-len(content) // _BLOCK_BYTES), 2):
                start = max(length, block * _BLOCK_BYTES)
                stop = min(len(content), (block + 1) * _BLOCK_BYTES)
                content[start:stop] = bytes(max(0, stop - start))
            path.write_bytes(content)
            os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


class LostNames(Fault):
    """A loss of power, after which names that no sync of their folder made durable are gone."""

    name = "lost names"

    def lose(self, disk: "Disk") -> None:
        for _, undo in reversed(disk.undo):
            with suppress(OSError):
                undo()


class Full(Fault):
    """A full disk: from now on nothing grows."""

    name = "full"
    strikes_at = frozenset(("open", "write", "truncate", "mkdir", "rename"))
    goes_on = True

    def strike(self, disk: "Disk", path: str) -> bool:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


class InputOutputError(Fault):
    """One operation fails as on a broken disk."""

    name = "eio"

    def strike(self, disk: "Disk", path: str) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)


class ShortWrite(Fault):
    """One write takes half, as `write` may."""

    name = "short"
    strikes_at = frozenset(("write",))

    def strike(self, disk: "Disk", path: str) -> bool:
        return True


_FAULTS = {
    one.name: one()
    for one in (Fault, Full, InputOutputError, ShortWrite, LostData, TornData, LostNames)
}
KINDS = tuple(_FAULTS)


class Disk:
    """Counts the changes below a folder, and lets one of them fail."""

    def __init__(
        self, folder: Path, kind: str = "stop", at: int | None = None, after: "Disk | None" = None
    ) -> None:
        """after: the disk under a process that ended before; what was not durable there is not."""
        self.folder = os.path.realpath(folder)
        self.fault, self.at = _FAULTS[kind], at
        self.num_operations = 0
        self.has_struck = False
        self.is_stopped = False
        self.log: list[str] = []
        self.durable_bytes: dict[tuple[int, int], int] = (
            {} if after is None else after.durable_bytes
        )
        """Bytes of each file that are durable, of files with others."""
        self.undo: list[tuple[str, Callable[[], None]]] = [] if after is None else after.undo
        """How to take back each change of a name that is not durable, with its path."""
        self.complaints: list[str] = []
        self._backups = Path(f"{self.folder}.backups")

    def operation(self, name: str, path: str) -> bool:
        """Count an operation, or fail it; return whether a write is to be short."""
        if self.is_stopped:
            raise Stopped
        self.num_operations += 1
        self.log.append(f"{name} {path}")
        if self.at is None or self.num_operations < self.at or name not in self.fault.strikes_at:
            return False
        if self.has_struck and not self.fault.goes_on:
            return False
        self.has_struck = True
        return self.fault.strike(self, path)

    def start_again(self) -> None:
        """Go on after a stop: another process takes over."""
        self.is_stopped = False

    def lose(self) -> None:
        """Take back what is not durable."""
        self.fault.lose(self)

    # What is durable

    def dirty(self, file: int) -> None:
        found = os.fstat(file)
        self.durable_bytes.setdefault((found.st_dev, found.st_ino), found.st_size)

    def synced(self, file: int) -> None:
        found = os.fstat(file)
        self.durable_bytes.pop((found.st_dev, found.st_ino), None)
        if stat.S_ISDIR(found.st_mode):
            folder = os.readlink(f"/proc/self/fd/{file}")
            self.undo = [one for one in self.undo if os.path.dirname(one[0]) != folder]

    def all_synced(self) -> None:
        self.durable_bytes, self.undo = {}, []

    def names(self, path: str, undo: Callable[[], None]) -> None:
        self.undo.append((path, undo))

    def check_records(self, log: str, data: bytes) -> None:
        """Note the files that a new record names and a loss of power would take."""
        changed = {path for path, _ in self.undo}
        for path in files_recorded(Path(log), data):
            if not path.exists():
                # Restored from a manifest: it was removed since, and so the record does not count.
                continue
            found = path.stat()
            if (found.st_dev, found.st_ino) in self.durable_bytes:
                self.complaints.append(f"{path}: recorded before its data was synced")
            if changed & {str(path), *map(str, path.parents)}:
                self.complaints.append(f"{path}: recorded before its name was synced")

    def backup(self, path: str) -> str | None:
        """Keep what a file has, under another name outside of the folder."""
        if not os.path.isfile(path) or os.path.islink(path):
            return None
        self._backups.mkdir(exist_ok=True)
        kept = str(self._backups / str(next(_NUMBERS)))
        with suppress(FileExistsError):
            _REAL["link"](path, kept)
        return kept

    def below(self, path: Any, dir_fd: int | None = None) -> str | None:
        """Return the absolute path if it is below the folder."""
        if isinstance(path, int):
            return None
        spelled = os.fsdecode(path)
        if dir_fd is not None:
            spelled = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), spelled)
        parent, name = os.path.split(os.path.abspath(spelled))
        whole = os.path.join(os.path.realpath(parent), name)
        return whole if whole.startswith(f"{self.folder}/") else None


_REAL: dict[str, Callable[..., Any]] = {
    name: getattr(os, name) for name in (*("open", "rename", "unlink", "mkdir", "rmdir", "link"),)
}
_OPEN = io.open


class _Raw(io.FileIO):
    """A file below the folder, opened for writing."""

    def __init__(self, disk: Disk, path: str, mode: str, opener: Any) -> None:
        disk.operation("open", path)
        self._disk, self._path = disk, path
        super().__init__(path, mode, opener=opener)
        if "w" in mode or "x" in mode:
            disk.dirty(self.fileno())

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        is_short = self._disk.operation("write", self._path)
        self._disk.dirty(self.fileno())
        if self._path.endswith(".log"):
            self._disk.check_records(self._path, bytes(view))
        return super().write(view[: (len(view) + 1) // 2] if is_short else view) or 0

    def truncate(self, size: int | None = None) -> int:
        self._disk.operation("truncate", self._path)
        return super().truncate(size)


@contextmanager
def simulated(disk: Disk) -> Iterator[Disk]:
    """Stand between this process and a folder until the block ends."""
    with ExitStack() as stack:
        for name, function in _patches(disk).items():
            stack.enter_context(mock.patch.object(os, name, function))
        stack.enter_context(mock.patch.object(file_system, "syncfs", _syncfs(disk)))
        opened = _opener(disk)
        stack.enter_context(mock.patch.object(io, "open", opened))
        stack.enter_context(mock.patch("builtins.open", opened))
        parquet, arrow = (
            _writer(pq.ParquetWriter, opened),
            _writer(pa.ipc.RecordBatchFileWriter, opened),
        )
        for module in (pq, pq.core):
            stack.enter_context(mock.patch.object(module, "ParquetWriter", parquet))
        stack.enter_context(mock.patch.object(pa.ipc, "new_file", arrow))
        stack.enter_context(mock.patch.object(part_file, "FileIO", _unbuffered(opened)))
        if tensors := sys.modules.get("safetensors.torch"):  # Where there is training.
            write = _tensor_writer(opened)
            stack.enter_context(mock.patch.object(tensors, "serialize_file", write))
        yield disk


def _syncfs(disk: Disk) -> Callable[[int], None]:
    def syncfs(file: int) -> None:
        path = os.readlink(f"/proc/self/fd/{file}")
        if f"{path}/".startswith(f"{disk.folder}/"):
            disk.operation("syncfs", path)
            disk.all_synced()

    return syncfs


def _opener(disk: Disk) -> Callable[..., Any]:
    def open_(
        file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None,
        errors: str | None = None, newline: str | None = None, closefd: bool = True,
        opener: Any = None,
    ) -> Any:  # fmt: skip
        path = None if isinstance(file, int) else disk.below(file)
        if path is None or not set("wax+") & set(mode):
            return _OPEN(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = _Raw(disk, path, mode.replace("b", "").replace("t", ""), opener)
        if buffering == 0:
            return raw
        buffered: Any = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        if "b" in mode:
            return buffered
        return io.TextIOWrapper(buffered, encoding or "utf-8", errors, newline)

    return open_


def _unbuffered(opened: Callable[..., Any]) -> Callable[..., Any]:
    def file(path: str, mode: str, opener: Any) -> Any:
        return opened(path, f"{mode}b", 0, opener=opener)

    return file


def _writer(writer: Any, opened: Callable[..., Any]) -> type:
    """Return a writer of pyarrow whose bytes go through our files; its own do not."""

    class Writer(writer):  # type: ignore[misc]
        def __init__(self, where: Any, *arguments: Any, **options: Any) -> None:
            self._opened = where if hasattr(where, "write") else opened(where, "wb")
            super().__init__(self._opened, *arguments, **options)

        def close(self) -> None:
            super().close()
            if not self._opened.closed:
                self._opened.close()

    return Writer


def _tensor_writer(opened: Callable[..., Any]) -> Callable[..., None]:
    """Return a function that writes tensors through our files; that of Rust does not."""
    from safetensors import SafetensorError, serialize

    def write(tensors: Any, path: Any, metadata: Any = None) -> None:
        content = serialize(tensors, metadata)
        try:
            with opened(path, "wb") as file:
                file.write(content)
        except OSError as error:
            raise SafetensorError(f"I/O error: {error.strerror} (os error {error.errno})") from None

    return write


def _patches(disk: Disk) -> dict[str, Callable[..., Any]]:
    def open_(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        whole = disk.below(path, dir_fd)
        if whole is not None and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            disk.operation("open", whole)
        found: int = _REAL["open"](path, flags, mode, dir_fd=dir_fd)
        return found

    def fsync(file: int) -> None:
        path = os.readlink(f"/proc/self/fd/{file}")
        if path == disk.folder or path.startswith(f"{disk.folder}/"):
            disk.operation("fsync", path)
            disk.synced(file)

    def rename(
        one: Any, other: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
    ) -> None:
        old, new = disk.below(one, src_dir_fd), disk.below(other, dst_dir_fd)
        if old is None and new is None:
            return _REAL["rename"](one, other, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        old, new = old or os.path.abspath(one), new or os.path.abspath(other)
        disk.operation("rename", new)
        kept = disk.backup(new)
        _REAL["rename"](old, new)
        disk.names(new, lambda: _rename_back(old, new, kept))
        return None

    def unlink(path: Any, *, dir_fd: int | None = None) -> None:
        whole = disk.below(path, dir_fd)
        if whole is not None:
            disk.operation("unlink", whole)
            kept = disk.backup(whole)
            if kept is not None:
                disk.names(whole, lambda: _REAL["link"](kept, whole))
        _REAL["unlink"](path, dir_fd=dir_fd)

    def mkdir(path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        whole = disk.below(path, dir_fd)
        if whole is not None and not os.path.isdir(whole):
            disk.operation("mkdir", whole)
        _REAL["mkdir"](path, mode, dir_fd=dir_fd)

    def rmdir(path: Any, *, dir_fd: int | None = None) -> None:
        whole = disk.below(path, dir_fd)
        if whole is not None:
            disk.operation("rmdir", whole)
            disk.names(whole, lambda: _REAL["mkdir"](whole))
        _REAL["rmdir"](path, dir_fd=dir_fd)

    return {"open": open_, "fsync": fsync, "rename": rename, "replace": rename, "unlink": unlink,
            "remove": unlink, "mkdir": mkdir, "rmdir": rmdir}  # fmt: skip


def _rename_back(old: str, new: str, kept: str | None) -> None:
    os.makedirs(os.path.dirname(old), exist_ok=True)
    _REAL["rename"](new, old)
    if kept is not None:
        _REAL["link"](kept, new)
