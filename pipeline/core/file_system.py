"""File system: make what a task wrote durable with one call, not one for each file and folder."""

import ctypes
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pipeline.core.files import sync_entry, writing

Sync = Callable[[Iterable[Path]], bool]
"""Makes files durable, and their names; tells whether all of the file system is, by `syncfs`.

Raises: OutputError as `publish`.
"""

# From this version on syncfs tells of all that failed. Since 5.8 it tells of data that could not be
# written, but it ignored a file system that could not commit its journal or flush its disk.
# Source: `man 2 syncfs`, VERSIONS; fs/sync.c, commit 5679897eb104.
_TELLS_OF_ERRORS: Final = (5, 17)
# FUSE passes syncfs on to virtiofs alone; of others it writes the data to a server that may keep
# them in memory. Source: fs/fuse/inode.c of Linux 6.12, `fuse_sync_fs`. What an overlay tells are
# errors of its own, while those of the data are noted where these lie: in the layer below it.
# Source: fs/sync.c of Linux 6.12, `syncfs`, and fs/overlayfs/super.c, `ovl_sync_fs`.
_FUSE: Final = 0x65735546
_OVERLAY: Final = 0x794C7630
_STATFS_BYTES: Final = 256


@contextmanager
def syncing(folder: Path) -> Iterator[Sync]:
    """Yield what makes files below a folder durable that are written while the block lasts.

    The file system is opened first: syncfs tells each file of the errors since that was opened,
    and another process may be told of ours before us.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)

    def sync(paths: Iterable[Path]) -> bool:
        with writing(folder):
            if has_syncfs(descriptor):
                syncfs(descriptor)
                return True
            for path in sorted(_with_parents(folder, paths), reverse=True):
                sync_entry(path)
            return False

    try:
        yield sync
    finally:
        os.close(descriptor)


def has_syncfs(descriptor: int) -> bool:
    """Return whether `syncfs` makes all of an open file's file system durable, or fails."""
    system = os.uname()
    version = tuple(map(int, re.findall(r"\d+", system.release)[:2]))
    return (
        system.sysname == "Linux"
        and version >= _TELLS_OF_ERRORS
        and _kind_of(descriptor) not in (None, _FUSE, _OVERLAY)
    )


def syncfs(descriptor: int) -> None:
    """Make all of an open file's file system durable. Raises: OSError."""
    if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _kind_of(descriptor: int) -> int | None:
    """Return the number of a kind of file system, None where it is not known."""
    found = (ctypes.c_long * (_STATFS_BYTES // ctypes.sizeof(ctypes.c_long)))()
    failed = ctypes.CDLL(None).fstatfs(descriptor, ctypes.byref(found))
    # `f_type` comes first, in a word.
    return None if failed else found[0]


def _with_parents(folder: Path, paths: Iterable[Path]) -> set[Path]:
    """Return files, and the folders that have their names, up to `folder`."""
    found = {folder}
    for path in paths:
        below = [one for one in path.parents if one.is_relative_to(folder)]
        found.update((path, *below))
    return found
