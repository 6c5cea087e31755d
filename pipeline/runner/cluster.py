"""Cluster: runs tasks on a local dask cluster, or on one that the user started.

All state lies in files that tasks write, so only time is lost when a cluster dies.
"""

import asyncio
import concurrent.futures
import logging
import os
import signal
import threading
import time
from asyncio import CancelledError
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from distributed import Client, Future, Security, Worker, WorkerPlugin
from distributed.scheduler import KilledWorker, NoValidWorkerError, NoWorkerError

from pipeline.core.errors import ConfigError, MismatchError, OutputError, PipelineError
from pipeline.core.progress import ReportProgress
from pipeline.runner.local_cluster import LocalWorkers

Task = TypeVar("Task")
Versions = dict[str, str]
_PACKAGES = ("numba", "numpy", "pyarrow", "tokenizers")
Result = TypeVar("Result")

_LOG = logging.getLogger(__name__)
_SECONDS_BETWEEN_LOOKS = 0.1
_SECONDS_TO_CONNECT = 10
_SECONDS_BETWEEN_CENSUSES = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Tls:
    """Files in PEM format, as `dask scheduler` takes them under the same names."""

    ca_file: Path
    """Certificates of who signed those of scheduler and workers."""
    cert: Path
    """The certificate of this side, with or without its key."""
    key: Path | None


class Cluster:
    """Runs pure functions on a cluster."""

    def __init__(
        self, client: Client, report: ReportProgress, local: LocalWorkers | None = None
    ) -> None:
        self._client = client
        self._report = report
        self._local = local

    def map(
        self, stage: str, function: Callable[[Task], Result], tasks: Sequence[Task]
    ) -> list[Result]:
        """Run a function on every task; return the results in the order of the tasks.

        Raises: the first error of a task, after the others were cancelled; MismatchError for a
        result of another key than the task's, as a worker of another version computes it;
        PipelineError when the scheduler goes away, or no workers are left that can be started.
        """
        if not tasks:
            return []
        while True:
            try:
                results = self._run(stage, function, tasks)
            except (NoWorkerError, NoValidWorkerError) as error:
                if self._local is None:
                    raise PipelineError(f"{stage}: {error}", "start more workers") from error
                # What is done has left its records, so that this is quick.
                self._client = self._local.start()
                continue
            for task, result in zip(tasks, results, strict=True):
                _check_key(stage, task, result)
            return results

    def _run(
        self, stage: str, function: Callable[[Task], Result], tasks: Sequence[Task]
    ) -> list[Result]:
        self._report(stage, 0, len(tasks))
        futures = [self._client.submit(function, task, pure=False) for task in tasks]
        try:
            with closing(self._as_they_end(futures)) as ended:
                for done, future in enumerate(ended, start=1):
                    if future.status == "error":
                        raise future.exception()
                    if future.status != "finished":
                        raise _lost(stage)
                    self._report(stage, done, len(tasks))
            results: list[Result] = self._gather(futures)
        except (CancelledError, concurrent.futures.CancelledError) as error:
            raise _lost(stage) from error
        except KilledWorker as error:
            raise OutputError(
                f"{stage}: a worker was killed repeatedly, probably out of memory",
                "run again with fewer --workers; finished work is kept",
            ) from error
        finally:
            self._client.cancel(futures)
        return results

    def _as_they_end(self, futures: Sequence[Future]) -> Generator[Future, None, None]:
        """Yield futures as they end, and raise KeyboardInterrupt soon after a Ctrl-C.

        Python itself would lose it when it arrives in a callback of the garbage collector, as dask
        has.
        """
        ended: SimpleQueue[Future] = SimpleQueue()
        future: Future | None
        for future in futures:
            future.add_done_callback(ended.put)
        with _note_interrupts() as noted:
            looked = time.monotonic()
            for _ in futures:
                while True:
                    if noted:
                        raise KeyboardInterrupt
                    try:
                        future = ended.get(timeout=_SECONDS_BETWEEN_LOOKS)
                    except Empty:
                        future = None
                    if time.monotonic() - looked > _SECONDS_BETWEEN_CENSUSES:
                        self._warn_of_lost_workers()
                        looked = time.monotonic()
                    if future is not None:
                        break
                yield future

    def _gather(self, futures: Sequence[Future]) -> list[Any]:
        """Return the results of futures, and raise KeyboardInterrupt as `_as_they_end` does."""
        gathered = asyncio.run_coroutine_threadsafe(
            self._client.gather(futures, asynchronous=True), self._client.loop.asyncio_loop
        )
        with _note_interrupts() as noted:
            while not gathered.done():
                concurrent.futures.wait([gathered], _SECONDS_BETWEEN_LOOKS)
                if noted:
                    gathered.cancel()
                    raise KeyboardInterrupt
        results: list[Any] = gathered.result()
        return results

    def _warn_of_lost_workers(self) -> None:
        if self._local is None:
            _warn_without_workers(self._client)
        else:
            self._local.warn_of_lost()


def _warn_without_workers(client: Client) -> None:
    """Say that a cluster has no workers; they may come, for example when a queue lets them."""
    if not client.scheduler_info()["workers"]:
        address = client.scheduler.address
        _LOG.warning("--scheduler %s: has no workers, waiting for some", address)


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
def open_cluster(
    workers: int, scheduler: str | None, report: ReportProgress, tls: Tls | None = None
) -> Iterator[Cluster]:
    """Start a cluster of `workers` processes, or join the one at `scheduler`.

    `tls`: what to show, and ask of, a scheduler at an address of `tls://`.

    Raises: PipelineError when no scheduler answers there, or no worker starts here; ConfigError
    for `tls` with another address.
    """
    for name in ("distributed", "distributed.client"):
        # Failures end in an error that says what to do.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if scheduler is not None:
        with _connect(scheduler, tls) as client:
            _check_versions(client)
            _warn_without_workers(client)
            yield Cluster(client, report)
        return
    local = LocalWorkers(workers)
    try:
        yield Cluster(local.start(), report, local)
    finally:
        local.stop()


def _connect(scheduler: str, tls: Tls | None) -> Client:
    is_tls = scheduler.startswith("tls://")
    if tls is not None and not is_tls:
        raise ConfigError(f"--tls-*: got --scheduler {scheduler}, expected an address of tls://")
    try:
        return Client(scheduler, timeout=_SECONDS_TO_CONNECT, security=_security(tls))
    # The last two: a wrong certificate or none, by dask's own checks.
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise PipelineError(
            f"--scheduler {scheduler}: no scheduler answers: {_reason(error)}",
            "give --tls-ca-file, --tls-cert and --tls-key as the scheduler has them, or tcp:// "
            "where it has none"
            if is_tls
            else "start one with `dask scheduler`, and workers with `dask worker ADDRESS`; the "
            "address of one with TLS begins with tls://",
        ) from error


def _security(tls: Tls | None) -> Security | None:
    """Return what dask takes; None stands for what its own configuration says."""
    if tls is None:
        return None
    key = None if tls.key is None else str(tls.key)
    security = Security(
        require_encryption=True,
        tls_ca_file=str(tls.ca_file),
        tls_client_cert=str(tls.cert),
        tls_client_key=key,
    )
    try:
        security.get_connection_args("client")
    except OSError as error:
        raise ConfigError(
            f"--tls-ca-file {tls.ca_file}, --tls-cert {tls.cert}, --tls-key {key}: {error}",
            "give files in PEM format: certificates of the authority, your own, and its key",
        ) from error
    return security


def _reason(error: BaseException) -> str:
    """Return on one line what the system says, which dask wraps in errors of its own."""
    reason, cause = error, error.__cause__
    while cause is not None:
        if isinstance(cause, OSError):
            reason = cause
        cause = cause.__cause__
    return " ".join(str(reason).split())
