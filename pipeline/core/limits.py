"""Limits: what the system lets this process have, and how to tell early that it is too little.

Each is read when it is asked for: a command raises its limit on open files, and a worker may have
others than the process that started the build.
"""

import math
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pipeline.core.errors import ConfigError
from pipeline.core.units import format_bytes

_LEAST_FILES = 16
_GROUPS = Path("/sys/fs/cgroup")
# What the kernel says where there is no limit: near 2^63.
_NO_LIMIT = 1 << 60
# A worker that has imported and loaded what it needs has 150 MB of memory to itself. It does not
# get as far with 976 MiB of addresses.
_LEAST_BYTES, _LEAST_ADDRESSES = 128 << 20, 768 << 20


def raise_open_files() -> None:
    """Raise the soft limit on open files to the hard one; processes started later inherit it.

    The soft one is often 1,024, which is meant for programs that call `select`; none does here.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A system may refuse a hard limit as a soft one, as macOS does an unlimited one.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_open_files() -> int:
    """Return how many files this process may have open."""
    return _soft_limit(resource.RLIMIT_NOFILE, sys.maxsize)


def part_of_open_files(divisor: int, most: int) -> int:
    """Return how many files may be open for one purpose: a part of the limit, at most `most`.

    The rest is for others. Where the limit is very low, the part is 16.
    """
    return min(most, max(_LEAST_FILES, most_open_files() // divisor))


def check_open_files(needed: int, where: str, instead: str = "") -> None:
    """Insist that so many files can be open at a time. Raises: ConfigError.

    instead: what else to do than to raise the limit, to end the hint with.
    """
    if (most := most_open_files()) < needed:
        raise ConfigError(
            f"{where}: got a limit of {most:,} open files, expected at least {needed:,}",
            f"raise it with `ulimit -n {needed}` or in the limits of the job or container{instead}",
        )


def num_cores() -> int:
    """Return how many cores this process may use, by its affinity and its control groups."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.floor(min([here or 1, *_group_cores()])))


def machine_memory_bytes() -> int:
    """Return the memory of the machine, or of its container, that all processes share."""
    return min(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *_group_limits())


def process_memory_bytes() -> int:
    """Return the memory that one process may use: that of the machine, or what `ulimit` allows."""
    return min(machine_memory_bytes(), _address_limit())


def check_memory(num_processes: int, where: str) -> None:
    """Insist on the least memory that so many processes can work with. Raises: ConfigError."""
    got, needed = machine_memory_bytes(), num_processes * _LEAST_BYTES
    if got < needed:
        raise ConfigError(
            f"{where}: got {format_bytes(got)} of memory for {num_processes:,} processes, expected"
            f" at least {format_bytes(needed)}",
            "give fewer --workers, or raise the limit of the job or container",
        )
    if (limit := _address_limit()) < _LEAST_ADDRESSES:
        raise ConfigError(
            f"{where}: got a limit of {format_bytes(limit)} of memory a process, expected at least"
            f" {format_bytes(_LEAST_ADDRESSES)}",
            "raise `ulimit -v` and `ulimit -d`, or the limits of the job",
        )


def default_memory_bytes() -> int:
    """Return how large a pool may be that is read at random: half of what a process may use."""
    return process_memory_bytes() // 2


def _address_limit() -> int:
    return min(_soft_limit(one, _NO_LIMIT) for one in (resource.RLIMIT_AS, resource.RLIMIT_DATA))


def _soft_limit(of: int, none: int) -> int:
    soft, _ = resource.getrlimit(of)
    return none if soft == resource.RLIM_INFINITY else soft


def _group_limits() -> Iterator[int]:
    """Yield the limits on memory of the control groups that this process is in."""
    yield _NO_LIMIT
    for text in _of_groups("memory", "memory.max", "memory.limit_in_bytes"):
        with suppress(ValueError):
            yield int(text)


def _group_cores() -> Iterator[float]:
    """Yield the limits on time of the control groups that this process is in, in cores."""
    for text in _of_groups("cpu", "cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us"):
        with suppress(ValueError):
            quota, period = map(int, text.split())
            if quota > 0:
                yield quota / period


def _of_groups(controller: str, name: str, *old_names: str) -> Iterator[str]:
    """Yield what files of the control groups say that this process is in, of either version.

    Also of the groups around them, since the least counts. old_names: of version 1, joined.
    """
    for folder, names in _groups(controller, (name,), old_names):
        for one in (folder, *folder.parents):
            with suppress(OSError):
                yield " ".join((one / name).read_text().strip() for name in names)
            if one == _GROUPS:
                break


def _groups(
    controller: str, new: tuple[str, ...], old: tuple[str, ...]
) -> Iterator[tuple[Path, tuple[str, ...]]]:
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield _GROUPS / path.lstrip("/"), new
            elif controller in controllers.split(","):
                yield _GROUPS / controller / path.lstrip("/"), old
    # In a container the path may be that of its host.
    yield _GROUPS, new
    yield _GROUPS / controller, old
