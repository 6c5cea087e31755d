"""Files: publish them atomically, even if the writer is killed."""

import errno
import io
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from pipeline.core.digest import FileDigest
from pipeline.core.errors import OutputError, lacks_files, lacks_memory
from pipeline.core.hashed_file import HashedFile
from pipeline.core.mirrored import here, published

# Errors that a person can fix; any other is a bug of ours.
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_WRITABLE = (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR)
DISK_FAILS = (errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.ETIMEDOUT)
"""What a failing disk and a network file system say."""
_MOST_STALE = 2
_DIGEST_BYTES = 32
_BYTES_AT_ONCE = 1 << 20


@contextmanager
def publish(path: Path, scratch: Path, *, syncs: bool = True) -> Iterator[Path]:
    """Yield a temporary path; on a clean exit sync it and rename it to `path`.

    The caller makes a file or a folder there, which replaces what was at `path`. `scratch` must be
    on the same file system; the folder that it shares with `path` is ours, so below it nothing is
    written through a link. Without `syncs`, it is made durable later, with others, or readers must
    notice what a power loss leaves behind.

    Raises: OutputError when the disk is full, fails or is not writable, the name is too long for
    it, or a link leads elsewhere.
    """
    ours = shared_folder(path, scratch)
    refuse_links(ours, scratch)
    # Without the name of `path`, which may be as long as a name can be.
    temporary = scratch / uuid.uuid4().hex
    try:
        with writing(path):
            scratch.mkdir(parents=True, exist_ok=True)
            yield temporary
            if syncs:
                sync(temporary)
            refuse_links(ours, path.parent)
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(temporary, path, scratch)
            if syncs:
                sync_entry(path.parent)
            published(path)
    finally:
        _remove(temporary)


@contextmanager
def publish_beside(path: Path) -> Iterator[Path]:
    """Publish a file in a folder that is not ours, as `publish` does.

    A killed process leaves its temporary file in a hidden folder, where it is taken for nothing.

    Raises: as `publish`, and OutputError for a folder at `path`, which would be lost.
    """
    if path.is_dir():
        raise OutputError(f"{path}: got a folder, expected a file, or nothing")
    scratch = path.absolute().parent / f".partial-{uuid.uuid4().hex}"
    try:
        with publish(path, scratch) as temporary:
            yield temporary
    finally:
        _remove(scratch)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Explain why `path` cannot be written. Raises: OutputError as `publish`."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            message = "the disk is full"
            hint = "make room and run the same command again: finished work is kept"
        elif error.errno in _NOT_WRITABLE:
            message = f"got {error.strerror}, expected a writable folder"
            hint = "choose another folder"
        elif error.errno in DISK_FAILS:
            message = f"the disk fails: {error.strerror}"
            hint = "look at the disk and run the same command again: finished work is kept"
        elif error.errno == errno.ENAMETOOLONG:
            message = "got a name too long for the file system"
            hint = "shorten the name of the input file that it is named after"
        else:
            raise
        raise OutputError(f"{path}: {message}", hint) from error


@contextmanager
def reading_scratch(path: Path) -> Iterator[None]:
    """Explain why a file of unfinished work cannot be read; the next run makes it again.

    Raises: OutputError, whatever numpy or a parser says of the damage; MemoryError, or OSError for
    too many open files.
    """
    try:
        yield
    except Exception as error:
        if lacks_memory(error) or lacks_files(error):
            raise
        raise OutputError(
            f"{path}: got damaged work of an unfinished run: {' '.join(str(error).split())}",
            "run the same command again: what is damaged is made again",
        ) from error


def open_scratch(path: Path, buffering: int = -1) -> BinaryIO:
    """Open a file of unfinished work to read it. Raises: OSError.

    A network file system may say once that a file is stale, whose name another machine has given
    to a new one.
    """
    here(path)
    for _ in range(_MOST_STALE):
        try:
            return path.open("rb", buffering)
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
    return path.open("rb", buffering)


def shared_folder(*paths: Path) -> Path:
    """Return the deepest folder that some paths lie in, absolute. Pure but for the current one."""
    return Path(os.path.commonpath([path.absolute() for path in paths]))


def refuse_links(ours: Path, path: Path) -> None:
    """Insist that no part of a path below a folder of ours is a link. Raises: OutputError."""
    ours, path = ours.absolute(), path.absolute()
    for part in (path, *path.parents):
        if part == ours:
            return
        if part.is_symlink():
            raise OutputError(
                f"{part}: got a link to {os.readlink(part)}, expected what ettin-data made",
                f"remove the link; to keep files elsewhere, link the whole of {ours}",
            )


def open_below(ours: Path, path: str | Path, flags: int) -> int:
    """Open a file below a folder of ours, through no link; an opener for `open`.

    Folders are made, and each is opened from the one above, so none is exchanged meanwhile.

    Raises: OutputError for a link; OSError.
    """
    *folders, name = Path(path).relative_to(ours).parts
    with suppress(FileExistsError):
        ours.mkdir(parents=True)
    at = os.open(ours, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for folder in folders:
            with suppress(FileExistsError):
                os.mkdir(folder, dir_fd=at)
            above = at
            at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
            os.close(above)
        return os.open(name, flags | os.O_NOFOLLOW, 0o666, dir_fd=at)
    except OSError:
        refuse_links(ours, Path(path))
        raise
    finally:
        os.close(at)


def sync(path: Path) -> None:
    """Make a file, or a folder with all that is in it, durable. Raises: OSError."""
    if path.is_dir():
        for child in sorted(path.iterdir()):
            sync(child)
    sync_entry(path)


def sync_entry(path: Path) -> None:
    """Make a file durable, or the names in a folder. Raises: OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save_array(path: Path, array: NDArray[Any]) -> FileDigest:
    """Write an array in numpy's format; on a full disk, numpy's own `save` hides the cause."""
    header = np.lib.format.header_data_from_array_1_0(array)
    with HashedFile(path) as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(np.ascontiguousarray(array).view(np.uint8).data)
    return file.digest


def load_array(path: Path) -> NDArray[Any]:
    """Map an array that `save_array` or `publish_array` wrote. Raises: as `reading_scratch`."""
    with reading_scratch(path), open_scratch(path) as file:
        return _map(file)


def read_array(path: Path) -> NDArray[Any]:
    """Read an array that `save_array` or `publish_array` wrote. Raises: as `reading_scratch`.

    Unlike a mapped one it holds no file open: 70,000 maps are more than Linux gives a process.
    """
    return np.array(load_array(path))


def save_sealed(path: Path, array: NDArray[Any]) -> None:
    """Write an array in numpy's format, and behind it the BLAKE3 of all that."""
    head = io.BytesIO()
    array = np.ascontiguousarray(array)
    np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(array))
    parts = [head.getbuffer(), array.reshape(-1).view(np.uint8).data]
    hasher = blake3()
    with path.open("wb") as file:
        for part in parts:
            file.write(part)
            hasher.update(part)
        file.write(hasher.digest())


def read_sealed(path: Path) -> NDArray[Any]:
    """Read an array that `save_sealed` wrote. Raises: as `reading_scratch`, for any damage."""
    return np.array(load_sealed(path))


def load_sealed(path: Path) -> NDArray[Any]:
    """Map an array that `save_sealed` wrote, once all of it was read. Raises: as `read_sealed`."""
    hasher = blake3()
    with reading_scratch(path), open_scratch(path) as file:
        left = os.fstat(file.fileno()).st_size - _DIGEST_BYTES
        while left > 0 and (data := file.read(min(left, _BYTES_AT_ONCE))):
            hasher.update(data)
            left -= len(data)
        if hasher.digest() != file.read(_DIGEST_BYTES):
            raise ValueError("got bytes of another digest than the file ends with")
        file.seek(0)
        return _map(file)


def _map(file: BinaryIO) -> NDArray[Any]:
    # With one open; by its path, numpy opens a file three times.
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return np.memmap(file, dtype, "r", offset=file.tell(), shape=shape)


def publish_array(
    path: Path, scratch: Path, dtype: np.dtype[Any], length: int, parts: Iterable[NDArray[Any]]
) -> None:
    """Publish an array in numpy's format that comes in parts and is never whole in memory.

    It is not synced: each run of the tool makes it again.
    """
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
    with publish(path, scratch, syncs=False) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {**header, "shape": (length,)})
        for part in parts:
            file.write(np.ascontiguousarray(part).view(np.uint8).data)


def _replace(temporary: Path, path: Path, scratch: Path) -> None:
    while True:
        replaced = scratch / uuid.uuid4().hex
        # A rename replaces no folder but an empty one, and no folder by a file.
        if path.is_dir() or (temporary.is_dir() and os.path.lexists(path)):
            with suppress(FileNotFoundError):
                path.rename(replaced)
        try:
            temporary.rename(path)
        except OSError as error:
            # A task that a cluster started twice may have published its twin in between.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            return
        finally:
            _remove(replaced)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        # The next run removes what is left.
        with suppress(OSError):
            path.unlink()
