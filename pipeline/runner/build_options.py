"""Build options: how a build is carried out, which no byte of its output depends on."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Required, TypedDict

from pipeline.core.progress import ReportProgress


@dataclass(frozen=True, kw_only=True, slots=True)
class Tls:
    """Files in PEM format, as `dask scheduler` takes them under the same names."""

    ca_file: Path
    """Certificates of who signed those of scheduler and workers."""
    cert: Path
    """The certificate of this side, with or without its key."""
    key: Path | None


class ClusterOptions(TypedDict, total=False):
    """Where tasks run."""

    workers: Required[int | None]
    """Processes that are started here where no scheduler is named; None for one a core, or for none
    where little is read."""
    scheduler: Required[str | None]
    """The address of a cluster that runs already."""
    tls: Tls | None
    """Certificates for it."""
    report: Required[ReportProgress]
    retried: Counter[str]
    """What to count tasks in that ran again, by the error of the system that passed."""
    hashes_all: bool
    """Whether a run that goes on with earlier work reads all of it, as by default it does not."""
    memory_bytes: int | None
    """A larger pool is laid out by position on disk first; by default half of the memory that a
    process may use, here and on workers of that cluster."""
    updates: bool
    """Whether the output may hold a build of another mixture, of which it keeps what still stands;
    by default it may not."""
    allows_code: bool
    """Whether code that the mixture names for its filters may run; by default it may not."""


class BuildOptions(ClusterOptions, total=False):
    """Where tasks run, and where pulled files lie."""

    raw: Path
    """The folder of pulled files, to which missing ones are pulled; by default `RAW`."""
    keeps_raw: bool
    """Whether they stay, as by default; else each is fetched only while it is read."""
    cache: Path | str | None
    """A folder of chunks that any build has made, from which this one takes what it can, and to
    which it adds the rest; by default none."""
