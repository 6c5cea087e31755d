"""Pulling many files at once, until all are there or one cannot be had.

The first that fails ends it. What came of the others stays, and the next pull goes on from there.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.progress import ReportProgress
from pipeline.sources.download.fetch import receive
from pipeline.sources.download.missing import DownloadPlan, Wanted, plan_download, scratch_folder
from pipeline.sources.lock.entries import Lock
from pipeline.storage import Store, open_store

# As many as keep a fast line busy; a server that is asked by more slows each down.
_NUM_THREADS = 8
_SECONDS_BETWEEN_REPORTS = 0.2
_SECONDS_TO_END = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Pulled:
    """What a pull has done for one source."""

    num_files: int
    """Files that were wanted, and are now there."""
    num_bytes: int
    """Their size."""
    num_files_pulled: int
    """Those that were not there before."""
    num_bytes_pulled: int
    """What came for them."""


def pull(
    lock: Lock,
    folder: Path,
    dest: Path,
    *,
    sources: Sequence[str] | None = None,
    limit_files: int | None = None,
    report: ReportProgress,
) -> dict[str, Pulled]:
    """Pull what is missing of some locked sources, or of all, into `dest`.

    Raises: as `plan_download` and `pull_missing`.
    """
    ahead = plan_download(lock, folder, dest, sources=sources, limit_files=limit_files)
    return pull_missing(ahead, report)


def pull_missing(ahead: DownloadPlan, report: ReportProgress) -> dict[str, Pulled]:
    """Pull what was found missing; `report` is told of bytes. Return what was done, by source.

    Raises: OutputError, before anything comes, when there is no room for it; InputError or
    MismatchError for the first file that cannot be had, or is not as it was locked.
    """
    ahead.check_room()
    scratch = scratch_folder(ahead.dest)
    origins = _open(ahead)
    received = _Count(ahead.missing)

    def work(wanted: Wanted) -> None:
        receive(
            origins[wanted.source],
            wanted.file,
            wanted.path,
            scratch,
            lambda num_bytes: received.add(wanted, num_bytes),
        )

    told, total = -1, ahead.num_bytes_missing

    def tell() -> None:
        nonlocal told
        if told != received.num_bytes:
            told = received.num_bytes
            report("pull", told, total)

    _work(ahead.missing, work, received, tell)
    names = sorted({wanted.source for wanted in ahead.wanted})
    return {name: _pulled(ahead.of(name), received) for name in names}


class _Stopped(Exception):
    """Another file could not be had."""


class _Count:
    """How much came, as threads tell it; also how they are told to end."""

    def __init__(self, missing: Sequence[Wanted]) -> None:
        self.num_bytes = 0
        self.stops = False
        self._lock = threading.Lock()
        self._by_path = {wanted.path: 0 for wanted in missing}

    def add(self, wanted: Wanted, num_bytes: int) -> None:
        """Take note of a piece. Raises: _Stopped."""
        with self._lock:
            self.num_bytes += num_bytes
            self._by_path[wanted.path] += num_bytes
        if self.stops:
            raise _Stopped

    def of(self, wanted: Wanted) -> int:
        """Return how much came of a file."""
        return self._by_path.get(wanted.path, 0)


def _open(ahead: DownloadPlan) -> dict[str, Store]:
    names = sorted({wanted.source for wanted in ahead.missing})
    locked = {name: ahead.lock.sources[name] for name in names}
    return {
        name: open_store(one.origin, ahead.folder, one.revision) for name, one in locked.items()
    }


def _work(
    tasks: Sequence[Wanted],
    work: Callable[[Wanted], None],
    received: _Count,
    report: Callable[[], None],
) -> None:
    """Do all tasks, some at a time. Raises: what the first that fails raises."""
    left, failures = deque(tasks), list[BaseException]()

    def run() -> None:
        try:
            while not received.stops:
                try:
                    task = left.popleft()
                except IndexError:
                    return
                work(task)
        except BaseException as error:
            failures.append(error)
            received.stops = True

    # They end with the process, whatever they wait for.
    threads = [threading.Thread(target=run, daemon=True) for _ in tasks[:_NUM_THREADS]]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive() and not received.stops:
                thread.join(_SECONDS_BETWEEN_REPORTS)
                report()
    finally:
        received.stops = True
        patience = time.monotonic() + _SECONDS_TO_END
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, patience - time.monotonic()))
    if failures:
        raise failures[0]


def _pulled(wanted: Sequence[Wanted], received: _Count) -> Pulled:
    pulled = [one for one in wanted if not one.is_whole]
    return Pulled(
        num_files=len(wanted),
        num_bytes=sum(one.file.num_bytes for one in wanted),
        num_files_pulled=len(pulled),
        num_bytes_pulled=sum(received.of(one) for one in pulled),
    )
