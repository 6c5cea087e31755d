"""Local cluster: worker processes on this machine, and a scheduler in this process.

Only processes that hold the certificate of the run can connect to it: whoever reaches a scheduler
or a worker of dask can run code there, and any user of a machine reaches its loopback.
"""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker

import dask
from distributed import Client, LocalCluster, Security

from pipeline.core.errors import PipelineError
from pipeline.runner.joined_cluster import open_mirrors

_LOG = logging.getLogger(__name__)
_SECONDS_TO_START = 60
_SECONDS_TO_CLOSE = 2
_MOST_STARTS = 3
WORKER_ENVIRONMENT = {"MALLOC_TRIM_THRESHOLD_": 1 << 28, "MALLOC_MMAP_THRESHOLD_": 1 << 25}
"""Keeps freed memory in the process. By dask's default it goes back to the system after every block
of documents and is requested again, which takes about a tenth of a partition's time."""
CONFIG = {
    "distributed.admin.tick.limit": "1h",
    # Tasks that no worker is left for fail with NoWorkerError; by default they wait for ever.
    "distributed.scheduler.no-workers-timeout": "60s",
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # Samples every thread's stack each 10 ms; nothing here reads the profile.
    "distributed.worker.profile.enabled": False,
    **{f"distributed.nanny.pre-spawn-environ.{k}": v for k, v in WORKER_ENVIRONMENT.items()},
}


class LocalWorkers:
    """Worker processes, started as often as is sensible."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._num_starts = 0
        self._num_missing = self._num_said = 0
        self._cluster: LocalCluster | None = None
        self._client: Client | None = None

    def start(self) -> Client:
        """Start all workers, in place of those that there were; return their client.

        Raises: PipelineError when they have been started three times, this one included.
        """
        self.stop()
        self._num_missing = self._num_said = 0
        reason: Exception | None = None
        while self._num_starts < _MOST_STARTS:
            if self._num_starts:
                _LOG.warning("workers: none is left, starting them again")
            self._num_starts += 1
            try:
                return self._start_once()
            except Exception as error:  # Also a failed assertion of dask's.
                reason = error
        raise PipelineError(
            f"workers: none is left, after {_MOST_STARTS} starts of {self._number}: something kills"
            " them, or they lack memory",
            "look at `ulimit -v`, the limits of the job or container, and the system's log; with "
            "fewer --workers less memory is needed; finished work is kept",
        ) from reason

    def warn_of_lost(self) -> None:
        """Say that workers are lost, at the second call that finds them missing.

        Those that are only started again, which takes seconds, are back until then.
        """
        assert self._cluster is not None
        missing = max(0, self._number - len(self._cluster.scheduler.workers))
        if missing > self._num_said and self._num_missing > self._num_said:
            self._num_said = missing
            _LOG.warning(
                "workers: %d of %d are lost and do not come back; the rest go on, slower",
                missing, self._number,
            )  # fmt: skip
        self._num_missing = missing

    def _start_once(self) -> Client:
        with dask.config.set(CONFIG), _block_interrupts():
            self._cluster = LocalCluster(
                n_workers=self._number,
                threads_per_worker=1,
                host="127.0.0.1",
                protocol="tls://",
                # Made for this run, and kept in the memory of its processes.
                security=Security.temporary(),
                # Its web server cannot be turned off, so it takes any port and shows nothing.
                scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                # Tasks bound their own memory; spilling would only hide that they do not.
                memory_limit=0,
                silence_logs=logging.CRITICAL,
                death_timeout=_SECONDS_TO_START,
            )
            self._client = Client(self._cluster)
            open_mirrors(self._client)
        return self._client

    def stop(self) -> None:
        """Kill the workers: they hold no state, and a busy one is slow to stop."""
        cluster, client = self._cluster, self._client
        self._cluster = self._client = None
        if cluster is None:
            return
        with _block_interrupts():
            for nanny in cluster.workers.values():
                nanny.close_gracefully()  # which does not start it again
                if nanny.pid is not None:
                    with suppress(ProcessLookupError):
                        os.kill(nanny.pid, signal.SIGKILL)
            with suppress(TimeoutError, OSError):
                if client is not None:
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
