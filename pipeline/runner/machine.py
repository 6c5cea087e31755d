"""Machine: the memory and disk that this process may use, and what of an estimate exceeds them."""

import logging
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import OutputError
from pipeline.core.units import format_bytes
from pipeline.runner.estimate_disk import DiskEstimate
from pipeline.runner.estimate_memory import MemoryEstimate
from pipeline.runner.expected_files import expected_part, tokens_by_size
from pipeline.runner.open_cluster import open_files_of
from pipeline.runner.plan import Plan

_LOG = logging.getLogger(__name__)
_GROUPS = Path("/sys/fs/cgroup")
# Ordered rows are compressed: prose to 1.5 bytes a token, and to no less than this.
_LEAST_ORDERED_BYTES = 1
# What the kernel says where there is no limit: near 2^63.
_NO_LIMIT = 1 << 60
# A file takes whole blocks: half of one more on average.
_BLOCK_BYTES = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What this process may use."""

    memory_bytes: int
    """Of the machine, or of its container if that has less."""
    free_bytes: int
    """On the disk of the output."""
    open_files: int
    """The hard limit, to which the soft one can be raised."""


def this_machine(folder: Path) -> Machine:
    """Return what there is here; `folder`, or one that it is to be made in, tells the disk."""
    above = folder.absolute()
    while not above.exists():
        above = above.parent
    return Machine(
        memory_bytes=min(_physical_bytes(), *_group_limits()),
        free_bytes=shutil.disk_usage(above).free,
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
    )


def exceeded(
    machine: Machine, disk: DiskEstimate, memory: MemoryEstimate, workers: int, pulled_bytes: int
) -> Iterator[str]:
    """Yield a line for each limit of a machine that an estimate exceeds.

    pulled_bytes: of files that are still to be pulled, to the same disk.
    """
    needed = disk.peak_bytes + pulled_bytes + disk.peak_files * _BLOCK_BYTES // 2
    if needed > machine.free_bytes:
        yield (
            f"disk: about {format_bytes(needed)} are needed at the peak,"
            f" {format_bytes(machine.free_bytes)} are free"
        )
    held = memory.driver_bytes + workers * memory.worker_bytes
    if held > machine.memory_bytes:
        fitting = (machine.memory_bytes - memory.driver_bytes) // memory.worker_bytes
        fewer = f": --workers {fitting} fit" if fitting > 0 else ""
        yield (
            f"memory: {workers} workers and the command take about {format_bytes(held)},"
            f" there are {format_bytes(machine.memory_bytes)}{fewer}"
        )
    open_files = open_files_of(workers)
    if 0 <= machine.open_files < open_files:
        yield (
            f"open files: about {open_files} are needed, `ulimit -n` allows {machine.open_files}"
        )


def check_room(plan: Plan, out: Path) -> None:
    """Look whether the disk of an output holds what a build writes there, before any work.

    What lies in the output already counts as room, since it is kept or replaced. Warns where the
    sizes of files say that it does not. Raises: OutputError where the budgets alone say so.
    """
    dtype_bytes = {"uint16": 2, "uint32": 4}[plan.mixture.shards.dtype]
    least = guessed = 0
    for one in plan.sources:
        available, ask = tokens_by_size(expected_part(one).files or ()), one.ask
        drawn = ask.tokens or int(available * (ask.epochs or 0))
        least += (ask.tokens or 0) * (dtype_bytes + _LEAST_ORDERED_BYTES)
        guessed += drawn * dtype_bytes + drawn * 3 // 2
        guessed += available * dtype_bytes * one.is_sampled
    free = this_machine(out).free_bytes
    if max(least, guessed) <= free:
        return
    room = free + sum(one.stat().st_size for one in out.rglob("*") if one.is_file())
    found = f"{out}: got room for {format_bytes(room)} on its disk, expected"
    if least > room:
        raise OutputError(
            f"{found} {format_bytes(least)} for the budgets alone",
            "choose another --out, make room, or lower the budgets; `ettin-data plan` says what a"
            " build takes",
        )
    if guessed > room:
        _LOG.warning("warning: %s about %s", found, format_bytes(guessed))


def _physical_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _group_limits() -> Iterator[int]:
    """Yield the limits of the control groups that this process is in, of either version."""
    yield _NO_LIMIT
    for folder, name in _groups():
        # Also of the groups around it, since the least counts.
        for one in (folder, *folder.parents):
            with suppress(OSError, ValueError):
                yield int((one / name).read_text())
            if one == _GROUPS:
                break


def _groups() -> Iterator[tuple[Path, str]]:
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield _GROUPS / path.lstrip("/"), "memory.max"
            elif "memory" in controllers.split(","):
                yield _GROUPS / "memory" / path.lstrip("/"), "memory.limit_in_bytes"
    # In a container the path may be that of its host.
    yield _GROUPS, "memory.max"
    yield _GROUPS / "memory", "memory.limit_in_bytes"
