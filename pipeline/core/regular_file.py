"""Read a file whole that a person has named: its bytes, or an error at once."""

import errno
import os
import stat
from pathlib import Path

from pipeline.core.mirrored import here


def read_file(path: Path) -> bytes:
    """Return the bytes of a regular file.

    Raises: OSError when it cannot be read, and at once for a pipe or a device, which may never end.
    """
    try:
        # A pipe that nobody writes to would be waited for.
        descriptor = os.open(here(path), os.O_RDONLY | os.O_NONBLOCK)
    except ValueError as error:  # A zero byte.
        raise OSError(errno.EINVAL, "not a name of a file", str(path)) from error
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return file.read()
