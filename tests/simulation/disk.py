"""A disk that fails when told to: it stands between the package and every change of a folder.

Operations are counted as they come: each file opened for writing, write, truncation, fsync, rename,
unlink, mkdir and rmdir below the folder. A fault strikes at one of them. What `fsync` did not make
durable is kept apart, so that a loss of power can take it back: data of a file by its inode, names
of a folder by those of its entries that changed.
"""

import errno
import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import pyarrow.parquet as pq

Kind = Literal["stop", "full", "eio", "short", "lost data", "lost names"]
"""`stop`: a kill, the disk keeps all. `full`: no room from here on. `eio`: this operation fails.
`short`: this write takes half, as `write` may. `lost data`, `lost names`: a loss of power, after
which data, or names, that no fsync made durable are gone."""
KINDS: tuple[Kind, ...] = ("stop", "full", "eio", "short", "lost data", "lost names")

_GROWS = ("open", "write", "truncate", "mkdir", "rename")


class Stopped(BaseException):
    """The process is no more: nothing may catch this, and nothing is changed after it."""


class Disk:
    """Counts the changes below a folder, and lets one of them fail."""

    def __init__(self, folder: Path, kind: Kind = "stop", at: int | None = None) -> None:
        self.folder = os.path.realpath(folder)
        self.kind, self.at = kind, at
        self.num_operations = 0
        self.has_struck = False
        self.log: list[str] = []
        self._stopped = False
        self._durable: dict[tuple[int, int], int] = {}
        """Bytes of each file that are durable, of files with others."""
        self._undo: list[tuple[str, Callable[[], None]]] = []
        """How to take back each change of a name that is not durable, with its folder."""
        self._backups = Path(f"{self.folder}.backups")

    # What a fault does

    def operation(self, name: str, path: str) -> bool:
        """Count an operation, or fail it; return whether a write is to be short."""
        if self._stopped:
            raise Stopped
        self.num_operations += 1
        self.log.append(f"{name} {path}")
        due = self.at is not None and self.num_operations >= self.at
        if not due or (self.has_struck and self.kind != "full"):
            return False
        if self.kind == "short":
            self.has_struck = name == "write"
            return self.has_struck
        if self.kind == "full":
            self.has_struck = self.has_struck or name in _GROWS
            if name in _GROWS:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            return False
        self.has_struck = True
        if self.kind == "eio":
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        self._stopped = True
        raise Stopped

    def lose(self) -> None:
        """Take back what is not durable, after a loss of power."""
        if self.kind == "lost names":
            for _, undo in reversed(self._undo):
                with suppress(OSError):
                    undo()
        if self.kind == "lost data":
            for path in Path(self.folder).rglob("*"):
                found = path.lstat()
                length = self._durable.get((found.st_dev, found.st_ino))
                if length is not None and stat.S_ISREG(found.st_mode):
                    os.truncate(path, min(length, found.st_size))

    # What is durable

    def dirty(self, file: int) -> None:
        found = os.fstat(file)
        self._durable.setdefault((found.st_dev, found.st_ino), found.st_size)

    def synced(self, file: int) -> None:
        found = os.fstat(file)
        self._durable.pop((found.st_dev, found.st_ino), None)
        if stat.S_ISDIR(found.st_mode):
            folder = os.readlink(f"/proc/self/fd/{file}")
            self._undo = [one for one in self._undo if one[0] != folder]

    def names(self, path: str, undo: Callable[[], None]) -> None:
        self._undo.append((os.path.dirname(path), undo))

    def backup(self, path: str) -> str | None:
        """Keep what a file has, under another name outside of the folder."""
        if not os.path.isfile(path) or os.path.islink(path):
            return None
        self._backups.mkdir(exist_ok=True)
        kept = str(self._backups / str(self.num_operations))
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
    name: getattr(os, name)
    for name in (
        *("open", "write", "fsync", "ftruncate", "truncate", "rename", "replace", "unlink"),
        *("remove", "mkdir", "rmdir", "link"),
    )
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
        opened = _opener(disk)
        stack.enter_context(mock.patch.object(io, "open", opened))
        stack.enter_context(mock.patch("builtins.open", opened))
        stack.enter_context(mock.patch.object(pq, "ParquetWriter", _parquet_writer(opened)))
        if tensors := sys.modules.get("safetensors.torch"):  # Where there is training.
            write = _tensor_writer(opened)
            stack.enter_context(mock.patch.object(tensors, "serialize_file", write))
        yield disk


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


def _parquet_writer(opened: Callable[..., Any]) -> type:
    """Return a writer whose bytes go through our files; pyarrow's own do not."""

    class Writer(pq.ParquetWriter):  # type: ignore[misc]
        def __init__(self, where: Any, *arguments: Any, **options: Any) -> None:
            self._sink = where if hasattr(where, "write") else opened(where, "wb")
            super().__init__(self._sink, *arguments, **options)

        def close(self) -> None:
            super().close()
            if not self._sink.closed:
                self._sink.close()

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
        _REAL["fsync"](file)

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
