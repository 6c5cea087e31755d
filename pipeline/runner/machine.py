"""Machine: the memory and disk that this process may use, and what of an estimate exceeds them."""

import resource
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.limits import machine_memory_bytes, process_memory_bytes
from pipeline.core.units import format_bytes
from pipeline.runner.estimate_disk import DiskEstimate
from pipeline.runner.estimate_memory import MemoryEstimate
from pipeline.runner.open_cluster import open_files_of

# A file takes whole blocks: half of one more on average.
_BLOCK_BYTES = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What this process may use."""

    memory_bytes: int
    """Of the machine, or of its container if that has less."""
    process_bytes: int
    """The same, or what one process may have if that is less."""
    free_bytes: int
    """On the disk of the output."""
    open_files: int
    """The hard limit, to which the soft one can be raised."""


def this_machine(folder: Path) -> Machine:
    """Return what there is here; `folder`, or one that it is to be made in, tells the disk."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return Machine(
        memory_bytes=machine_memory_bytes(),
        process_bytes=process_memory_bytes(),
        free_bytes=shutil.disk_usage(existing(folder)).free,
        open_files=sys.maxsize if hard == resource.RLIM_INFINITY else hard,
    )


def existing(folder: Path) -> Path:
    """Return a folder, or the one that it is to be made in."""
    above = folder.absolute()
    while not above.exists():
        above = above.parent
    return above


def exceeded(
    machine: Machine, disk: DiskEstimate, memory: MemoryEstimate, workers: int, pulled_bytes: int
) -> Iterator[str]:
    """Yield a line for each limit of a machine that an estimate exceeds.

    workers: those on this machine. pulled_bytes: of files that are still to be pulled, to the same
    disk.
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
        fewer = f": --workers {fitting} fit" if 0 < fitting < workers else ""
        who = f"{workers} workers and the command take" if workers else "the command takes"
        yield (
            f"memory: {who} about {format_bytes(held)},"
            f" there are {format_bytes(machine.memory_bytes)}{fewer}"
        )
    largest = max(memory.driver_bytes, memory.worker_bytes if workers else 0)
    if machine.process_bytes < min(largest, machine.memory_bytes):
        yield (
            f"memory: a process takes about {format_bytes(largest)}, `ulimit -v` or `ulimit -d`"
            f" allows {format_bytes(machine.process_bytes)}"
        )
    open_files = open_files_of(workers)
    if machine.open_files < open_files:
        yield (
            f"open files: about {open_files} are needed, `ulimit -n` allows {machine.open_files}"
        )
