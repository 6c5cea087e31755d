"""Joined cluster: one that the user started, whose workers are those of one build.

Workers of other versions may tokenize or sort differently, so they are refused, and so are those
that see other files, or may open too few.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from distributed import Client, Security, Worker, WorkerPlugin

from pipeline.core.errors import ConfigError, PipelineError
from pipeline.core.mirrored import Mirror, registered
from pipeline.runner.build_options import Tls
from pipeline.runner.check_workers import check_workers
from pipeline.runner.same_files import Notes

_LOG = logging.getLogger(__name__)
_SECONDS_TO_CONNECT = 10


@contextmanager
def join_cluster(
    scheduler: str, tls: Tls | None, open_files: int, notes: Notes
) -> Iterator[Client]:
    """Join the cluster at `scheduler`; `tls` is what to show, and ask of, one at `tls://`.

    open_files: what a worker must be able to have open. notes: what it must see.

    Raises: PipelineError when no scheduler answers there, or workers have other versions or files;
    ConfigError for `tls` with another address, or a limit on open files that is too low.
    """
    with _connect(scheduler, tls) as client:
        open_mirrors(client)
        check_workers(client, open_files, notes)
        warn_without_workers(client)
        yield client


def open_mirrors(client: Client) -> None:
    """Let the workers there are, and those to come, use the mirrors of this process."""
    if mirrors := registered():
        client.register_plugin(_Mirrors(mirrors))


class _Mirrors(WorkerPlugin):  # type: ignore[misc]  # distributed has no types
    name = "ettin-data-mirrors"

    def __init__(self, mirrors: Sequence[Mirror]) -> None:
        self._mirrors = mirrors

    def setup(self, worker: Worker) -> None:
        for mirror in self._mirrors:
            mirror.join()

    def teardown(self, worker: Worker) -> None:
        for mirror in self._mirrors:
            mirror.leave()


def warn_without_workers(client: Client) -> None:
    """Say that a cluster has no workers; they may come, for example when a queue lets them."""
    if not client.scheduler_info()["workers"]:
        address = client.scheduler.address
        _LOG.warning("--scheduler %s: has no workers, waiting for some", address)


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
