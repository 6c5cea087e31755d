"""Check workers: those of the user's cluster, before any of them works, and each that joins later.

All must have the versions of this process, see the same files, and may open enough of them. What
is wrong with any of them is one error, with a line for each worker that it is wrong with.
"""

import logging
from collections.abc import Mapping

from distributed import Client, Worker, WorkerPlugin

from pipeline.core.errors import ConfigError, PipelineError
from pipeline.core.limits import default_memory_bytes, most_open_files, raise_open_files
from pipeline.runner.same_files import HINT, Notes
from pipeline.runner.versions import Versions, differing_versions, version_reader, versions

_LOG = logging.getLogger(__name__)


def check_workers(client: Client, open_files: int, notes: Notes) -> None:
    """Refuse workers of other versions or files, or that may open too few, now and later.

    Raises: PipelineError for all that see other files or have other versions, ConfigError for one
    with too low a limit.
    """
    expected = versions()
    found = client.run(version_reader(), on_error="return")
    looked = client.run(notes.looker(), on_error="return")
    lines = [*compare_versions(expected, found), *_other_files(notes, looked)]
    if lines:
        raise PipelineError(
            "\n".join(
                [
                    "--scheduler: got workers of other versions or files than this command's:",
                    *(f"  {line}" for line in lines),
                ]
            ),
            "install the same versions everywhere and start these workers again, since others may"
            f" tokenize or sort differently; {HINT}",
        )
    for worker, most in sorted(client.run(raised_limit, on_error="ignore").items()):
        if most < open_files:
            raise ConfigError(
                f"--scheduler: got a limit of {most:,} open files on {worker}, expected at least"
                f" {open_files:,}",
                f"start the workers with `ulimit -n {open_files}`, or raise the limit of their job"
                " or container",
            )
    client.register_plugin(_guard(expected, open_files))


def compare_versions(
    expected: Versions, found: Mapping[str, Versions | BaseException]
) -> list[str]:
    """Return a line for each version of workers, by address, that differs; an exception stands for
    one that cannot say."""
    unknown = [
        f"ettin-data: {expected['ettin-data']} here, one that cannot be compared ({has!r}) on"
        f" {worker}"
        for worker, has in sorted(found.items())
        if isinstance(has, BaseException)
    ]
    known = {worker: has for worker, has in found.items() if not isinstance(has, BaseException)}
    return sorted([*differing_versions(expected, known), *unknown])


def _other_files(
    notes: Notes, looked: Mapping[str, tuple[str, list[str], list[str]] | BaseException]
) -> list[str]:
    """Return a line for each thing that a worker, by address, sees otherwise than this process."""
    lines = []
    for worker, seen in sorted(looked.items()):
        if isinstance(seen, BaseException):
            lines.append(f"{worker}: cannot say which files it sees: {seen!r}")
            continue
        host, wrong, answers = seen
        for line in [*wrong, *notes.unread(answers)]:
            lines.append(f"{host}, {worker}: sees other files: {line}")
    return lines


def raised_limit() -> int:
    """Raise the limit on open files of this process as far as it may be, and return it."""
    raise_open_files()
    return most_open_files()


def least_memory_bytes(client: Client) -> int:
    """Return the largest pool that is read at random here and on all workers, by their limits."""
    there: dict[str, int] = client.run(_memory_bytes, on_error="ignore")
    return min([default_memory_bytes(), *there.values()])


def _memory_bytes(dask_worker: Worker) -> int:
    """Return half of what a task on this worker may use."""
    limit: int | None = dask_worker.memory_manager.memory_limit
    threads: int = dask_worker.state.nthreads
    own = default_memory_bytes()
    return min(own, limit // 2 // threads) if limit else own


def _guard(expected: Versions, open_files: int) -> WorkerPlugin:
    """Return what ends a worker of other versions, or of too low a limit, as soon as it joins."""
    read = version_reader()

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
            from pipeline.runner.check_workers import raised_limit

            if (most := raised_limit()) < open_files:
                end(f"got a limit of {most:,} open files, expected at least {open_files:,}")

    return Guard()
