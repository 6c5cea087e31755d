"""Pulling many files at once. The first failure ends it; the next pull resumes every file."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.progress import ReportProgress, Work
from pipeline.sources.download.download_plan import DownloadPlan, PlannedFile, scratch_folder
from pipeline.sources.download.fetch import receive
from pipeline.storage import open_store

# As many as keep a fast connection busy; a server that is asked by more slows each down.
_NUM_THREADS = 8
_SECONDS_BETWEEN_REPORTS = 0.2
_SECONDS_TO_STOP = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class PullCounts:
    """What a pull has done for one source."""

    num_files: int
    """Files that are now there."""
    num_bytes: int
    num_files_pulled: int
    """Those that were missing."""
    num_bytes_pulled: int


def pull(plan: DownloadPlan, report: ReportProgress) -> dict[str, PullCounts]:
    """Pull the missing files of a plan; `report` counts bytes. Return what was done, by source.

    Raises: OutputError, before anything comes, when there is no room; InputError or MismatchError
    for the first file that cannot be read, or is not as locked.
    """
    plan.check_room()
    scratch, locked = scratch_folder(plan.dest), plan.lock.sources
    stores = {
        name: open_store(locked[name].origin, plan.folder, locked[name].revision)
        for name in sorted({file.source for file in plan.missing})
    }
    received, lock, stop = Counter[Path](), threading.Lock(), threading.Event()

    def work(planned: PlannedFile) -> None:
        def count(num_bytes: int) -> None:
            with lock:
                received[planned.path] += num_bytes
            if stop.is_set():
                raise _StoppedError

        receive(stores[planned.source], planned.file, planned.path, scratch, count)

    reported = -1

    def report_bytes() -> None:
        nonlocal reported
        with lock:
            num_bytes = received.total()
        if reported != num_bytes:
            reported = num_bytes
            report("pull", reported, plan.num_bytes_missing, Work(unit="bytes", num_bytes=reported))

    _run(plan.missing, work, stop, report_bytes)
    if plan.missing:
        # All threads may have ended before they were first looked at.
        report_bytes()
    counts = {}
    for name in sorted({planned.source for planned in plan.files}):
        files = [planned for planned in plan.files if planned.source == name]
        counts[name] = PullCounts(
            num_files=len(files),
            num_bytes=sum(planned.file.num_bytes for planned in files),
            num_files_pulled=sum(not planned.is_complete for planned in files),
            num_bytes_pulled=sum(received[planned.path] for planned in files),
        )
    return counts


class _StoppedError(Exception):
    """Another file has failed."""


def _run(
    tasks: Sequence[PlannedFile],
    work: Callable[[PlannedFile], None],
    stop: threading.Event,
    report: Callable[[], None],
) -> None:
    """Do all tasks, some at a time; raise the error of the first that fails."""
    left, failures = iter(tasks), list[BaseException]()

    def run() -> None:
        try:
            for task in left:
                if stop.is_set():
                    return
                work(task)
        except BaseException as error:
            failures.append(error)
            stop.set()

    # As daemons they end with the process, whatever they wait for.
    threads = [threading.Thread(target=run, daemon=True) for _ in tasks[:_NUM_THREADS]]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive() and not stop.is_set():
                thread.join(_SECONDS_BETWEEN_REPORTS)
                report()
    finally:
        stop.set()
        deadline = time.monotonic() + _SECONDS_TO_STOP
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
    if failures:
        raise failures[0]
