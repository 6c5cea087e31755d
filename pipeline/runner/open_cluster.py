"""Open a cluster: this process where there is little work, others of this machine, or a user's own.

Dask is imported here where one is opened: it takes half a second, and to start workers two more.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.core.compiled import little_work
from pipeline.core.limits import check_memory, check_open_files, num_cores
from pipeline.core.progress import ReportProgress
from pipeline.runner.build_options import Tls
from pipeline.runner.cluster import Cluster, InProcess
from pipeline.runner.same_files import leaving_notes

# Counted: 22 descriptors in this process and 10 for each worker, to it and to what watches it. The
# rest is for the stages; a worker itself needs as many as they do, and 20. What stages open of many
# shards or runs is a part of the limit, whatever it is (`part_of_open_files`).
_FOR_STAGES = 64
_FOR_WORKERS = 24
_PER_WORKER = 12
# One process reads and writes as much while workers start.
_LITTLE_BYTES = 8 << 20


def open_files_of(workers: int) -> int:
    """Return how many files a build on so many local workers has open at most, in one process."""
    return _FOR_STAGES + _FOR_WORKERS + _PER_WORKER * workers


def local_workers(workers: int | None, scheduler: str | None, num_bytes: int | None) -> int:
    """Return how many processes `open_cluster` starts here: none where it joins a cluster, or
    where there is little work."""
    if scheduler is not None:
        return 0
    if workers is None and num_bytes is not None and num_bytes <= _LITTLE_BYTES:
        return 0
    return workers or num_cores()


@contextmanager
def open_cluster(
    workers: int | None,
    scheduler: str | None,
    report: ReportProgress,
    tls: Tls | None = None,
    num_bytes: int | None = None,
    *,
    folders: Sequence[Path] = (),
    files: Sequence[Path] = (),
    retried: Counter[str] | None = None,
) -> Iterator[Cluster]:
    """Start a cluster of `workers` processes, or join the one at `scheduler`.

    With neither, it is one process a core; this one alone where all tasks together read at most
    8 MiB, as far as their `num_bytes` are known. `tls`: what to show, and ask of, a scheduler at an
    address of `tls://`. folders, files: what workers there must see as here; a note is left in each
    folder. retried: what to count tasks in that ran again, by the error that passed.

    Raises: PipelineError when no scheduler answers there, workers have other versions or see other
    files, or no worker starts here; ConfigError
    for `tls` with another address, a limit on open files, here or of a worker there, that is too
    low, or too little memory.
    """
    number = local_workers(workers, scheduler, num_bytes)
    if scheduler is None and number == 0:
        check_open_files(_FOR_STAGES, "this process")
        with little_work():
            yield InProcess(report, retried)
        return
    from pipeline.runner.dask_cluster import DaskCluster
    from pipeline.runner.joined_cluster import join_cluster
    from pipeline.runner.local_cluster import LocalWorkers

    for name in ("distributed", "distributed.client"):
        # Failures end in an error that says what to do.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if scheduler is not None:
        with (
            leaving_notes(folders, files) as notes,
            join_cluster(scheduler, tls, open_files_of(0), notes) as client,
        ):
            yield DaskCluster(client, report, notes=notes, retried=retried)
        return
    check_open_files(open_files_of(number), f"--workers {number}", ", or give fewer --workers")
    check_memory(1 + number, f"--workers {number}")
    local = LocalWorkers(number)
    try:
        yield DaskCluster(local.start(), report, local, retried=retried)
    finally:
        local.stop()
