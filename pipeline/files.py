"""Files: listing them in one order, and publishing them whole or not at all.

A published file or folder was written under a temporary name on the same file system, synced and
renamed, so a reader never sees half of it, whenever the writer was killed.
"""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from glob import has_magic
from pathlib import Path

from pipeline.errors import OutputError


def sorted_glob(folder: Path, pattern: str) -> list[Path]:
    """List the files that match a glob pattern relative to `folder`, sorted by path."""
    anchor = Path(folder / pattern)
    parts = anchor.parts
    first_magic = next((i for i, part in enumerate(parts) if has_magic(part)), None)
    if first_magic is None:
        return [anchor] if anchor.is_file() else []
    base = Path(*parts[:first_magic])
    return sorted(path for path in base.glob(str(Path(*parts[first_magic:]))) if path.is_file())


@contextmanager
def publish(path: Path, scratch: Path) -> Iterator[Path]:
    """Yield a temporary path; on a clean exit sync it and rename it to `path`.

    The temporary path does not exist yet: the caller makes a file or a folder there. What stood at
    `path` before is replaced. `scratch` must be on the same file system as `path`.

    Raises: OutputError when the disk is full or not writable.
    """
    temporary = scratch / f"{path.name}.{uuid.uuid4().hex}"
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() and not path.is_symlink():
            path.rename(scratch / f"{path.name}.{uuid.uuid4().hex}.old")
        temporary.rename(path)
        _sync_entry(path.parent)
    except OSError as error:
        raise _explain(error, path) from error
    finally:
        _remove(temporary)


def _sync(path: Path) -> None:
    if path.is_dir():
        for child in sorted(path.iterdir()):
            _sync(child)
    _sync_entry(path)


def _sync_entry(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _explain(error: OSError, path: Path) -> OutputError | OSError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(
            f"{path}: the disk is full",
            "make room and run the same command again: what is done and intact is kept",
        )
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return OutputError(
            f"{path}: got {error.strerror}, expected a writable folder", "choose another --out"
        )
    return error
