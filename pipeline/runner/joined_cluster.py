"""Joined cluster: one that the user started, whose workers have the versions of this process.

Workers of other versions may tokenize or sort differently, so they are refused, and so are those
that may open too few files.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from distributed import Client, Security, Worker, WorkerPlugin

from pipeline.core.errors import ConfigError, PipelineError
from pipeline.core.limits import most_open_files, raise_open_files
from pipeline.runner.build_options import Tls

Versions = dict[str, str]
_PACKAGES = ("numba", "numpy", "pyarrow", "tokenizers")

_LOG = logging.getLogger(__name__)
_SECONDS_TO_CONNECT = 10


@contextmanager
def join_cluster(scheduler: str, tls: Tls | None, open_files: int) -> Iterator[Client]:
    """Join the cluster at `scheduler`; `tls` is what to show, and ask of, one at `tls://`.

    open_files: what a worker must be able to have open.

    Raises: PipelineError when no scheduler answers there, or workers have other versions;
    ConfigError for `tls` with another address, or a limit on open files that is too low.
    """
    with _connect(scheduler, tls) as client:
        _check_workers(client, open_files)
        warn_without_workers(client)
        yield client


def warn_without_workers(client: Client) -> None:
    """Say that a cluster has no workers; they may come, for example when a queue lets them."""
    if not client.scheduler_info()["workers"]:
        address = client.scheduler.address
        _LOG.warning("--scheduler %s: has no workers, waiting for some", address)


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


def _guard(expected: Versions, open_files: int) -> WorkerPlugin:
    """Return what ends a worker of other versions, or of too low a limit, as soon as it joins."""
    read = _version_reader()

    class Guard(WorkerPlugin):  # type: ignore[misc]  # distributed has no types
        name = "ettin-data-versions"

        def setup(self, worker: Worker) -> None:
            import logging

            def end(reason: str) -> None:
                logging.getLogger("distributed.worker").error("this worker ends: %s", reason)
                worker.loop.add_callback(worker.close, reason=reason)

            found = read()
            if found != expected:
                end(f"got {found}, expected the versions of the build: {expected}")
                return
            from pipeline.runner.joined_cluster import raised_limit

            if (most := raised_limit()) < open_files:
                end(f"got a limit of {most:,} open files, expected at least {open_files:,}")

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


def raised_limit() -> int:
    """Raise the limit on open files of this process as far as it may be, and return it."""
    raise_open_files()
    return most_open_files()


def _check_workers(client: Client, open_files: int) -> None:
    """Refuse workers of other versions, or that may open too few files, now and later."""
    expected = versions()
    compare_versions(expected, client.run(_version_reader(), on_error="return"))
    for worker, most in sorted(client.run(raised_limit, on_error="ignore").items()):
        if most < open_files:
            raise ConfigError(
                f"--scheduler: got a limit of {most:,} open files on {worker}, expected at least"
                f" {open_files:,}",
                f"start the workers with `ulimit -n {open_files}`, or raise the limit of their job"
                " or container",
            )
    client.register_plugin(_guard(expected, open_files))


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
