"""Limits: what the system lets this process have, and how to tell early that it is too little."""

import os
import resource
from contextlib import suppress

from pipeline.core.errors import ConfigError


def raise_open_files() -> None:
    """Raise the soft limit on open files to the hard one; processes started later inherit it.

    The soft one is often 1,024, which is meant for programs that call `select`; none does here.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A system may refuse a hard limit as a soft one, as macOS does an unlimited one.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def check_open_files(needed: int, where: str) -> None:
    """Insist that so many files can be open at a time. Raises: ConfigError."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        raise ConfigError(
            f"{where}: got a limit of {soft:,} open files, expected at least {needed:,}",
            f"raise it with `ulimit -n {needed}` or in the limits of the job or container, or give "
            "fewer --workers",
        )


def default_memory_bytes() -> int:
    """Return how large a pool may be that is read at random: half of the machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
