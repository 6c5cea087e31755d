"""The engine: a dask cluster that carries out tasks, of our own making or the user's.

Enters: functions and their arguments. Leaves: results in the order asked for. All state lies in
files that tasks write, so the cluster may be lost at any moment and nothing else is.
"""

import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

import dask
from distributed import Client, LocalCluster, as_completed
from distributed.scheduler import KilledWorker

from pipeline.errors import OutputError, PipelineError

Task = TypeVar("Task")
Result = TypeVar("Result")
Report = Callable[[str, int, int], None]
"""Called with a stage's name, how many of its tasks are done, and how many there are."""


class Engine:
    """Runs pure functions on a cluster."""

    def __init__(self, client: Client, report: Report) -> None:
        self._client = client
        self._report = report

    def map(
        self, stage: str, function: Callable[[Task], Result], tasks: Sequence[Task]
    ) -> list[Result]:
        """Run a function on every task; return the results in the order of the tasks.

        Raises: the first error of a task, after the others were cancelled.
        """
        if not tasks:
            return []
        self._report(stage, 0, len(tasks))
        futures = [self._client.submit(function, task, pure=False) for task in tasks]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                if future.status == "error":
                    raise _explain(future.exception(), stage)
                self._report(stage, done, len(tasks))
            results: list[Result] = self._client.gather(futures)
        finally:
            self._client.cancel(futures)
        return results


def _explain(error: BaseException, stage: str) -> BaseException:
    if isinstance(error, KilledWorker):
        return OutputError(
            f"{stage}: a worker was killed again and again, most likely for want of memory",
            "run again with fewer --workers; what is done is kept",
        )
    return error


@contextmanager
def open_engine(workers: int, scheduler: str | None, report: Report) -> Iterator[Engine]:
    """Start a cluster of `workers` processes, or join the one at `scheduler`.

    Raises: PipelineError when no scheduler answers there.
    """
    logging.getLogger("distributed").setLevel(logging.ERROR)
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout=10)
        except (OSError, ValueError) as error:
            raise PipelineError(
                f"--scheduler {scheduler}: no scheduler answers: {error}",
                "start one with `dask scheduler`, and workers with `dask worker ADDRESS`",
            ) from error
        with client:
            yield Engine(client, report)
        return
    with dask.config.set({"distributed.admin.tick.limit": "1h"}), _interrupts_held():
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            # Tasks bound their own memory; spilling would only hide that they do not.
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        )
        client = Client(cluster)
    try:
        yield Engine(client, report)
    finally:
        with suppress(TimeoutError, OSError):
            client.close(timeout=2)
            cluster.close(timeout=2)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back while workers start, which inherit that; ours comes when all have."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


