"""Cluster: runs tasks on a local dask cluster, or on one that the user started.

All state lies in files that tasks write, so only time is lost when a cluster dies.
"""

import logging
import os
import signal
import threading
from asyncio import CancelledError
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from multiprocessing import resource_tracker
from queue import Empty, SimpleQueue
from typing import TypeVar

import dask
from distributed import Client, Future, LocalCluster, Worker, WorkerPlugin
from distributed.scheduler import KilledWorker

from pipeline.core.errors import MismatchError, OutputError, PipelineError
from pipeline.core.progress import ReportProgress

Task = TypeVar("Task")
Versions = dict[str, str]
_PACKAGES = ("numba", "numpy", "pyarrow", "tokenizers")
Result = TypeVar("Result")

_LOG = logging.getLogger(__name__)
_SECONDS_BETWEEN_LOOKS = 0.1
_SECONDS_TO_CLOSE = 2
WORKER_ENVIRONMENT = {"MALLOC_TRIM_THRESHOLD_": 1 << 28, "MALLOC_MMAP_THRESHOLD_": 1 << 25}
"""Keeps freed memory in the process. By dask's default it goes back to the system after every block
of documents and is requested again, which takes about a tenth of a partition's time."""
_CONFIG = {
    "distributed.admin.tick.limit": "1h",
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # Samples every thread's stack each 10 ms; nothing here reads the profile.
    "distributed.worker.profile.enabled": False,
    **{f"distributed.nanny.pre-spawn-environ.{k}": v for k, v in WORKER_ENVIRONMENT.items()},
}


class Cluster:
    """Runs pure functions on a cluster."""

    def __init__(self, client: Client, report: ReportProgress) -> None:
        self._client = client
        self._report = report

    def map(
        self, stage: str, function: Callable[[Task], Result], tasks: Sequence[Task]
    ) -> list[Result]:
        """Run a function on every task; return the results in the order of the tasks.

        Raises: the first error of a task, after the others were cancelled; MismatchError for a
        result of another key than the task's, as a worker of another version computes it.
        """
        if not tasks:
            return []
        self._report(stage, 0, len(tasks))
        futures = [self._client.submit(function, task, pure=False) for task in tasks]
        try:
            with closing(_as_they_end(futures)) as ended:
                for done, future in enumerate(ended, start=1):
                    if future.status == "error":
                        error = future.exception()
                        if isinstance(error, KilledWorker):
                            raise OutputError(
                                f"{stage}: a worker was killed repeatedly, probably out of memory",
                                "run again with fewer --workers; finished work is kept",
                            )
                        raise error
                    if future.status != "finished":
                        raise _lost(stage)
                    self._report(stage, done, len(tasks))
            results: list[Result] = self._client.gather(futures)
            for task, result in zip(tasks, results, strict=True):
                _check_key(stage, task, result)
        except CancelledError as error:
            raise _lost(stage) from error
        finally:
            self._client.cancel(futures)
        return results


def _check_key(stage: str, task: object, result: object) -> None:
    """Refuse a record that is of another key than its task has here."""
    expected, got = getattr(task, "key", None), getattr(result, "key", None)
    if None not in (expected, got) and got != expected:
        raise MismatchError(
            f"{stage}: a worker returned a record with the key {got}, expected {expected}: it runs "
            "other code, or sees other files",
            "give all workers one version of everything and the same files, and change neither "
            "during a build",
        )


def _as_they_end(futures: Sequence[Future]) -> Generator[Future, None, None]:
    """Yield futures as they end, and raise KeyboardInterrupt soon after a Ctrl-C.

    Python itself would lose it when it arrives in a callback of the garbage collector, as dask has.
    """
    ended: SimpleQueue[Future] = SimpleQueue()
    for future in futures:
        future.add_done_callback(ended.put)
    with _note_interrupts() as noted:
        for _ in futures:
            while True:
                if noted:
                    raise KeyboardInterrupt
                try:
                    future = ended.get(timeout=_SECONDS_BETWEEN_LOOKS)
                except Empty:
                    continue
                break
            yield future


@contextmanager
def _note_interrupts() -> Iterator[list[int]]:
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted  # Signals arrive in the main thread only.
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: noted.append(number))
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def _lost(stage: str) -> PipelineError:
    return PipelineError(
        f"{stage}: the scheduler went away",
        "start it again, or another, and run the same command: finished work is kept",
    )


def versions() -> Versions:
    """Return the versions in this process of what decides bytes, by name."""
    return _version_reader()()


def _version_reader() -> Callable[[], Versions]:
    """Return `versions`, as a function that a worker of any version of this package can run.

    Functions and classes within a function are sent by value, all others by name.
    """
    packages = _PACKAGES

    def read() -> Versions:
        import sys
        from importlib import import_module, metadata

        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        own = str(import_module("pipeline.version").VERSION)
        others = {package: metadata.version(package) for package in packages}
        return {"ettin-data": own, "Python": python, **others}

    return read


def _version_guard(expected: Versions) -> WorkerPlugin:
    """Return what ends a worker of other versions as soon as it joins."""
    read = _version_reader()

    class Guard(WorkerPlugin):  # type: ignore[misc]  # distributed has no types
        name = "ettin-data-versions"

        def setup(self, worker: Worker) -> None:
            import logging

            found = read()
            if found != expected:
                reason = f"got {found}, expected the versions of the build: {expected}"
                logging.getLogger("distributed.worker").error("this worker ends: %s", reason)
                worker.loop.add_callback(worker.close, reason="other versions than the build's")

    return Guard()


def compare_versions(expected: Versions, found: Mapping[str, Versions | BaseException]) -> None:
    """Compare the versions of workers, by address; an exception stands for one that cannot say.

    Raises: PipelineError with a line for each version that differs, and who has it.
    """
    differ: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for worker, has in sorted(found.items()):
        if isinstance(has, BaseException):
            differ["ettin-data", f"one that cannot be compared ({has!r})"].append(worker)
            continue
        for name, version in expected.items():
            if (other := has.get(name, "none")) != version:
                differ[name, other].append(worker)
    if differ:
        lines = [
            f"  {name}: {expected[name]} here, {other} on {', '.join(workers)}"
            for (name, other), workers in sorted(differ.items())
        ]
        raise PipelineError(
            "\n".join(["--scheduler: got workers of other versions than this command's:", *lines]),
            "install the same versions everywhere and start these workers again; others may "
            "tokenize or sort differently",
        )


def _check_versions(client: Client) -> None:
    """Refuse workers of other versions: those that are there, and those that join later."""
    expected = versions()
    compare_versions(expected, client.run(_version_reader(), on_error="return"))
    client.register_plugin(_version_guard(expected))


def default_memory_bytes() -> int:
    """Return how large a pool may be that is read at random: half of the machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


@contextmanager
def open_cluster(workers: int, scheduler: str | None, report: ReportProgress) -> Iterator[Cluster]:
    """Start a cluster of `workers` processes, or join the one at `scheduler`.

    Raises: PipelineError when no scheduler answers there.
    """
    for name in ("distributed", "distributed.client"):
        # Failures end in an error that says what to do.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout=10)
        except (OSError, ValueError) as error:
            raise PipelineError(
                f"--scheduler {scheduler}: no scheduler answers: {error}",
                "start one with `dask scheduler`, and workers with `dask worker ADDRESS`",
            ) from error
        with client:
            _check_versions(client)
            if not client.scheduler_info()["workers"]:
                _LOG.warning("--scheduler %s: has no workers yet, waiting for some", scheduler)
            yield Cluster(client, report)
        return
    running = None
    try:
        with dask.config.set(_CONFIG), _block_interrupts():
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                host="127.0.0.1",
                # Its web server cannot be turned off, so it takes any port and shows nothing.
                scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                # Tasks bound their own memory; spilling would only hide that they do not.
                memory_limit=0,
                silence_logs=logging.CRITICAL,
            )
            running = cluster, Client(cluster)
        yield Cluster(running[1], report)
    finally:
        if running is not None:
            with _block_interrupts():
                _stop(*running)


def _stop(cluster: LocalCluster, client: Client) -> None:
    """Kill a cluster's workers: they hold no state, and a busy one is slow to stop."""
    for nanny in cluster.workers.values():
        nanny.auto_restart = False
        if nanny.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(nanny.pid, signal.SIGKILL)
    with suppress(TimeoutError, OSError):
        client.close(timeout=_SECONDS_TO_CLOSE)
        cluster.close(timeout=_SECONDS_TO_CLOSE)


@contextmanager
def _block_interrupts() -> Iterator[None]:
    """Block Ctrl-C while workers start, which inherit the mask; it arrives once all have."""
    # Otherwise it starts with the first worker, and lets Ctrl-C through for that one.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
