"""Dask cluster: tasks run on workers, local ones or those of a scheduler that the user started.

The scheduler holds a window of tasks, not all of them, and their results go to the caller as they
come.
"""

import asyncio
import concurrent.futures
import signal
import threading
import time
import uuid
from asyncio import CancelledError
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, islice
from queue import Empty, SimpleQueue
from typing import Any, Generic

from dask.utils import funcname
from distributed import Client, Future
from distributed.scheduler import KilledWorker, NoValidWorkerError, NoWorkerError

from pipeline.core.errors import MismatchError, OutputError, PipelineError
from pipeline.core.progress import TASKS, ReportProgress, work_of
from pipeline.runner.attempt import attempt
from pipeline.runner.check_workers import least_memory_bytes
from pipeline.runner.cluster import Cluster, Result, Task, Tasks
from pipeline.runner.joined_cluster import warn_without_workers
from pipeline.runner.local_cluster import LocalWorkers
from pipeline.runner.same_files import Notes, look_once

_SECONDS_BETWEEN_LOOKS = 0.1
_SECONDS_BETWEEN_CENSUSES = 60
# Tasks that the scheduler holds at a time: enough that no worker waits while results are fetched.
_LEAST_WINDOW = 64
_WINDOW_PER_WORKER = 4
# Windows of results that wait behind a slow task: enough for one of sixty times the usual length,
# while thousands of records are not held.
_WINDOWS_WAITING = 16


class DaskCluster(Cluster):
    """Runs tasks on workers of dask."""

    def __init__(
        self,
        client: Client,
        report: ReportProgress,
        local: LocalWorkers | None = None,
        notes: Notes | None = None,
        retried: Counter[str] | None = None,
    ) -> None:
        """`notes`: what workers of other machines must see. `retried`: as `InProcess`."""
        self._client = client
        self._report = report
        self._local = local
        self._notes = notes
        self._retried = Counter() if retried is None else retried

    def memory_bytes(self) -> int:
        """As `Cluster.memory_bytes`, here and on all workers."""
        if self._local is not None:
            return super().memory_bytes()
        return least_memory_bytes(self._client)

    def each(
        self, stage: str, function: Callable[[Task], Result], tasks: Tasks[Task]
    ) -> Iterator[Result]:
        """As `Cluster.each`, on the workers.

        Raises: the first error of a task, after the others were cancelled; MismatchError for a
        result of another key than the task's, as a worker of another version computes it;
        PipelineError when the scheduler goes away, or no workers are left that can be started.
        """
        if not len(tasks):
            return
        work = TASKS
        self._report(stage, 0, len(tasks), work)
        window = _Window(self._client, function, self._notes)
        numbered = enumerate(tasks)
        results: dict[int, Result] = {}
        num_done = num_yielded = 0
        try:
            while num_yielded < len(tasks):
                window.fill(numbered, len(results))
                for number, task, result in self._wait(stage, window):
                    _check_key(stage, task, result)
                    results[number] = result
                    num_done += 1
                    work += work_of(function, task, result)
                    self._report(stage, num_done, len(tasks), work)
                while num_yielded in results:
                    yield results.pop(num_yielded)
                    num_yielded += 1
        finally:
            window.cancel()

    def _wait(
        self, stage: str, window: "_Window[Task, Result]"
    ) -> Sequence[tuple[int, Task, Result]]:
        """Wait for tasks to end; return them, or none where the workers had to be started again."""
        try:
            with _note_interrupts() as noted:
                futures = self._next(window, noted)
                for future in futures:
                    if future.status == "error":
                        raise future.exception()
                    if future.status != "finished":
                        raise _lost(stage)
                results = self._gather(futures, noted)
        except (NoWorkerError, NoValidWorkerError) as error:
            if self._local is None:
                raise PipelineError(f"{stage}: {error}", "start more workers") from error
            # Results that did not arrive have left their records, so that this is quick.
            self._client = self._local.start()
            window.start_again(self._client)
            return []
        except (CancelledError, concurrent.futures.CancelledError) as error:
            raise _lost(stage) from error
        except KilledWorker as error:
            raise OutputError(
                f"{stage}: a worker was killed repeatedly, probably out of memory",
                "run again with fewer --workers; finished work is kept",
            ) from error
        self._retried.update(chain.from_iterable(passed for _, passed in results))
        return window.take(futures, [result for result, _ in results])

    def _next(self, window: "_Window[Any, Any]", noted: Sequence[int]) -> list[Future]:
        """Wait for a future to end; return all that have, or raise KeyboardInterrupt if noted."""
        while not (futures := window.ended(_SECONDS_BETWEEN_LOOKS)):
            _raise_if(noted)
            if time.monotonic() - window.looked > _SECONDS_BETWEEN_CENSUSES:
                self._warn_of_lost_workers()
                window.look()
        return futures

    def _gather(self, futures: Sequence[Future], noted: Sequence[int]) -> list[Any]:
        """Return the results of futures, or raise KeyboardInterrupt as soon as one is noted."""
        gathered = asyncio.run_coroutine_threadsafe(
            self._client.gather(futures, asynchronous=True), self._client.loop.asyncio_loop
        )
        while not gathered.done():
            concurrent.futures.wait([gathered], _SECONDS_BETWEEN_LOOKS)
            if noted:
                gathered.cancel()
                _raise_if(noted)
        results: list[Any] = gathered.result()
        return results

    def _warn_of_lost_workers(self) -> None:
        if self._local is None:
            warn_without_workers(self._client)
        else:
            self._local.warn_of_lost()


class _Window(Generic[Task, Result]):
    """The tasks of a stage that the scheduler holds."""

    def __init__(
        self, client: Client, function: Callable[[Task], Result], notes: Notes | None
    ) -> None:
        self._function = function
        self._notes = notes
        self._tasks: dict[Future, tuple[int, Task]] = {}
        self._join(client)

    def _join(self, client: Client) -> None:
        self._client = client
        self._ended: SimpleQueue[Future] = SimpleQueue()
        self._size = _LEAST_WINDOW
        self.look()

    def look(self) -> None:
        """Size the window for the workers that there are."""
        # Of a scheduler that went away, the tasks say so.
        with suppress(OSError):
            num_threads = sum(self._client.nthreads().values())
            self._size = max(_LEAST_WINDOW, _WINDOW_PER_WORKER * num_threads)
        self.looked = time.monotonic()

    def fill(self, numbered: Iterator[tuple[int, Task]], num_waiting: int) -> None:
        """Submit tasks until the window is full; num_waiting: results behind a slow task."""
        room = min(self._size, _WINDOWS_WAITING * self._size - num_waiting) - len(self._tasks)
        for number, task in islice(numbered, max(0, room)):
            self._submit(number, task)

    def _submit(self, number: int, task: Task) -> None:
        # As dask names it by itself.
        key = f"{funcname(self._function)}-{uuid.uuid4()}"
        future = self._client.submit(_run, self._function, task, self._notes, key=key, pure=False)
        self._tasks[future] = number, task
        future.add_done_callback(self._ended.put)

    def ended(self, seconds: float) -> list[Future]:
        """Return the futures that have ended since, after a wait of some seconds at most."""
        futures = []
        with suppress(Empty):
            futures.append(self._ended.get(timeout=seconds))
            while True:
                futures.append(self._ended.get_nowait())
        return futures

    def take(
        self, futures: Sequence[Future], results: Sequence[Result]
    ) -> list[tuple[int, Task, Result]]:
        """Remove tasks that have ended; return number, task and result of each."""
        return [
            (*self._tasks.pop(future), result)
            for future, result in zip(futures, results, strict=True)
        ]

    def start_again(self, client: Client) -> None:
        """Submit all tasks of the window to another cluster."""
        tasks, self._tasks = self._tasks, {}
        self._join(client)
        for number, task in tasks.values():
            self._submit(number, task)

    def cancel(self) -> None:
        """Cancel what is left; a client that was closed meanwhile has."""
        if self._tasks and self._client.status == "running":
            self._client.cancel(list(self._tasks))


def _run(
    function: Callable[[Task], Result], task: Task, notes: Notes | None
) -> tuple[Result, list[str]]:
    """Run a task on a worker, which may have joined after all others were looked at."""
    if notes is not None:
        look_once(notes)
    return attempt(function, task)


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
    """Note a Ctrl-C, for a loop that raises KeyboardInterrupt soon after.

    Python itself would lose it when it arrives in a callback of the garbage collector, as dask has.
    """
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted  # Signals arrive in the main thread only.
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: noted.append(number))
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)
    _raise_if(noted)


def _raise_if(noted: Sequence[int]) -> None:
    if noted:
        raise KeyboardInterrupt


def _lost(stage: str) -> PipelineError:
    return PipelineError(
        f"{stage}: the scheduler went away",
        "start it again, or another, and run the same command: finished work is kept",
    )
