"""The index of an order's provenance, without a build."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from support.here import Here

from pipeline.core.digest import fingerprint
from pipeline.dataset import State
from pipeline.runner.shuffle.index_rows import IndexJob, index_documents, plan_index
from pipeline.runner.shuffle.jobs import save_for_tasks

KEY = "key"


def index_job(out: Path, num_rows: int, places: Sequence[tuple[str, str]]) -> IndexJob:
    """Save the (source, file) pairs of an order; return the job that indexes its provenance."""
    state = State(out=out)
    save_for_tasks(state, state.pool_files, places)
    key = fingerprint([KEY, places])
    return IndexJob(out=out, key=key, plan=plan_index(num_rows), hashes_all=False)


def write_documents(
    out: Path, files: Sequence[tuple[Path, int]], places: Sequence[tuple[str, str]]
) -> None:
    """Write the index of some files of provenance, given with their rows, into an output."""
    job = index_job(out, sum(num_rows for _, num_rows in files), places)
    index_documents(job, Here(), [(str(path), num_rows) for path, num_rows in files])
    shutil.rmtree(job.state.root)
