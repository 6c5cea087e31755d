"""Mirrored folders: folders on this machine's disk that stand for places in object stores.

Code that works with paths goes on working: it writes to such a folder, says what it has published,
and calls `here` before it reads. Where a process has no mirror, this costs a look at an empty list.
"""

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol


class Mirror(Protocol):
    """A folder whose files lie in a store; paths are absolute. Raises: PipelineError."""

    @property
    def folder(self) -> Path: ...

    @property
    def address(self) -> str: ...

    def join(self) -> None:
        """Make the folder a mirror in this process, a worker of the one that made the mirror."""

    def leave(self) -> None:
        """Let the folder be a plain one in this process."""

    def fetch(self, path: Path, *, anew: bool = False) -> None:
        """Bring a file here if the store has it and it is not here, or anew in its last version."""

    def publish(self, path: Path) -> None:
        """Give a file, or all of a folder, to workers that do not share this disk, if any do."""

    def remove(self, *paths: Path) -> None:
        """Remove files from the store."""

    def remove_below(self, folder: Path) -> None:
        """Remove all files below a folder from the store."""

    def save(self, paths: list[Path]) -> dict[Path, str]:
        """Upload files; return the version of each in the store."""

    def has(self, path: Path, version: str) -> bool:
        """Tell whether the store has this version; what is here of another one is removed."""

    def add_records(self, folder: Path, lines: bytes | Path) -> None:
        """Save lines of a log of records, once what they name is saved."""

    def sizes(self, folder: Path) -> dict[str, int]:
        """Return the files that the store has below a folder, by path relative to it."""

    def hash(self, path: Path) -> tuple[int, str] | None:
        """Return size and sha256 of a file in the store, which is not kept; None for none."""

    def finish(self, out: Path, last: Path, sizes: Mapping[str, int]) -> None:
        """Upload what is missing of a finished output, `last` after all others.

        sizes: the files, by path relative to it.
        """


_mirrors: list[Mirror] = []


def register(mirror: Mirror) -> None:
    """Let a folder be a mirror in this process, in place of what it was."""
    unregister(mirror.folder)
    _mirrors.append(mirror)


def unregister(folder: Path) -> None:
    _mirrors[:] = [one for one in _mirrors if one.folder != folder]


def registered() -> list[Mirror]:
    """Return the mirrors of this process, for its workers."""
    return list(_mirrors)


def mirror_of(path: Path) -> Mirror | None:
    """Return the mirror that an absolute path lies in."""
    return next((one for one in _mirrors if path.is_relative_to(one.folder)), None)


def here(path: Path) -> Path:
    """Return the path of a file, which is on this disk now if its store has it."""
    if _mirrors and (mirror := mirror_of(path)) is not None:
        mirror.fetch(path)
    return path


def shown(path: Path) -> str:
    """Return a path for a person, who knows of a mirror by its address."""
    mirror = mirror_of(path)
    return str(path) if mirror is None else str(path).replace(str(mirror.folder), mirror.address)


def may_exist(path: Path) -> bool:
    """Tell whether there is a file, or it lies in a mirror, where only reading it tells."""
    return path.is_file() or (bool(_mirrors) and mirror_of(path) is not None)


def published(path: Path) -> None:
    """Say that a file or a folder has its name now."""
    if _mirrors and (mirror := mirror_of(path)) is not None:
        mirror.publish(path)


def total_bytes(folder: Path, paths: Iterable[Path]) -> int:
    """Return the size of files below a folder, together; none is brought here. Raises: OSError."""
    mirror = mirror_of(folder)
    if mirror is None:
        return sum(path.stat().st_size for path in paths)
    sizes = mirror.sizes(folder)
    names = [path.relative_to(folder).as_posix() for path in paths]
    for name in names:
        if name not in sizes:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder / name))
    return sum(sizes[name] for name in names)


@contextmanager
def only_here_to_read(path: Path) -> Iterator[Path]:
    """Yield the path of a file; what a mirror had to bring is removed afterwards."""
    mirror = mirror_of(path)
    was_here = mirror is None or path.exists()
    try:
        yield here(path)
    finally:
        if not was_here:
            path.unlink(missing_ok=True)


def remove_file(path: Path) -> None:
    """Remove a file, if there is one. Raises: OSError."""
    if _mirrors and (mirror := mirror_of(path)) is not None:
        mirror.remove(path)
    path.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it; what the disk keeps is left."""
    if _mirrors and (mirror := mirror_of(folder)) is not None:
        mirror.remove_below(folder)
    shutil.rmtree(folder, ignore_errors=True)
