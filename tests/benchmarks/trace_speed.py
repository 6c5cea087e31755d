"""Measure tracing on a simulated order:

    python -m tests.benchmarks.trace_speed [--rows 1e8] [--scratch FOLDER]

Enters: nothing; the order is made up (`tests/support/made_order.py`), and indexed as by a build.
Leaves: seconds and rates of writing, of the index and of opening, and of look-ups the median and
the slowest. Method: steps and documents are drawn at random; each is looked up once, so that all
but the footers is read anew, from files in the page cache. For `--find`, ids of the skew of text
are searched for a text's two forms. The folder is removed; it takes about 150 bytes a row.
"""

import argparse
import gc
import resource
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pipeline.audit.trace.lookup import Trace
from pipeline.audit.trace.text_search import find_ids
from pipeline.core.digest import FileDigest
from pipeline.core.ragged import ByteStrings
from pipeline.dataset import State
from pipeline.runner.shuffle import index_rows
from pipeline.runner.shuffle.jobs import save_for_tasks
from tests.support.made_order import (
    PLACES,
    ROWS_PER_STEP,
    MadeOrder,
    write_manifest,
    write_rows,
)

NUM_LOOKUPS = 300
NUM_IDS = 64 << 20


def main() -> None:
    """Parse, simulate, look up, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=float, default=1e6)
    parser.add_argument("--scratch", type=Path, help="where files are written (default: as usual)")
    options = parser.parse_args()
    print("| what | measured |")
    print("|---|---|")
    num_steps = -(-int(options.rows) // ROWS_PER_STEP)
    with TemporaryDirectory(dir=options.scratch) as folder:
        made = MadeOrder(Path(folder), num_steps)
        _simulate(made)
        _look_up(made)
    _scan()


def _say(what: str, measured: str) -> None:
    print(f"| {what} | {measured} |", flush=True)


def _simulate(made: MadeOrder) -> None:
    """Write an output of which all but the rows themselves is there."""
    rows, seconds = write_rows(made)
    num_bytes = sum(file.num_bytes for file in rows.values())
    _say("rows, files of rows", f"{made.num_rows:,}, {len(rows)}")
    speed = f"{made.num_rows / seconds / 1e6:.1f} M rows/s of a core"
    _say("write rows", f"{speed}, {num_bytes / made.num_rows:.1f} B/row")
    index = index_as_a_build(made)
    num_bytes = sum(file.num_bytes for file in index.values())
    _say("index", f"{len(index)} files, {num_bytes / made.num_rows:.1f} B/row")
    write_manifest(made, {**rows, **index})


def index_as_a_build(made: MadeOrder) -> dict[str, FileDigest]:
    """Index provenance as a build does; say of each pass its speed and the peak memory so far."""
    files = [(name, (stop - start) * ROWS_PER_STEP) for name, start, stop in made.files()]

    class Timed:
        def map(self, stage: str, function: Callable[[Any], Any], tasks: list[Any]) -> list[Any]:
            if not tasks:
                return []
            started = time.perf_counter()
            results = [function(task) for task in tasks]
            seconds = time.perf_counter() - started
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            speed = f"{made.num_rows / seconds / 1e6:.2f} M rows/s"
            _say(f"{stage}: {len(tasks)} tasks", f"{speed}, peak memory so far {peak:.0f} MiB")
            return results

    state = State(out=made.out)
    save_for_tasks(state, state.pool_files, PLACES)
    plan = index_rows.plan_index(made.num_rows)
    job = index_rows.IndexJob(out=made.out, key="", plan=plan, hashes_all=False)
    _say("cells read to index", f"{job.plan.num_reads:,}")
    index = index_rows.index_documents(job, Timed(), files)
    shutil.rmtree(state.root)
    return index


def _look_up(made: MadeOrder) -> None:
    started = time.perf_counter()
    trace = Trace.open(made.out)
    _say("open", f"{(time.perf_counter() - started) * 1e3:.0f} ms")
    # A command looks up once; over hundreds, a collection of all that is loaded would add 100 ms.
    gc.collect()
    gc.freeze()
    rng = np.random.default_rng(0)
    num_steps = len(trace.positions.first_rows) - 1
    steps = rng.integers(1, num_steps + 1, NUM_LOOKUPS).tolist()
    _time("by step", [lambda step=step: _step(trace, step) for step in steps])
    rows = rng.integers(0, trace.positions.num_rows, NUM_LOOKUPS)
    block = made.block(rows)
    ids = [one.tobytes().decode() for one in ByteStrings(block.documents, block.offsets)]
    _time("by row", [lambda row=row: _row(trace, row) for row in rows.tolist()])
    _time("by document", [lambda id_=id_: _document(trace, id_) for id_ in ids])


def _step(trace: Trace, step: int) -> None:
    origins = [*trace.rows(trace.positions.step(step))]
    assert len(origins) == ROWS_PER_STEP
    assert origins[0].step == origins[-1].step == step


def _row(trace: Trace, row: int) -> None:
    (origin,) = trace.rows(trace.positions.row(row))
    assert origin.row == row


def _document(trace: Trace, document: str) -> None:
    assert {origin.document for origin in trace.document(document)} == {document}


def _time(what: str, lookups: list[Callable[[], None]]) -> None:
    taken = []
    for look_up in lookups:
        started = time.perf_counter()
        look_up()
        taken.append((time.perf_counter() - started) * 1e3)
    _say(
        what,
        f"first {taken[0]:.1f} ms, median {statistics.median(taken):.1f} ms, 99 of 100 within"
        f" {statistics.quantiles(taken, n=100)[-1]:.1f} ms, slowest {max(taken):.1f} ms",
    )


def _scan() -> None:
    rng = np.random.default_rng(0)
    ids = (50_000 * rng.random(NUM_IDS) ** 3).astype(np.uint32)
    for what, first in (("frequent", 11), ("rare", 49_000)):
        wanted = [np.array([first + form, 7, 12], np.uint32) for form in (0, 1)]
        find_ids(ids[:1000], wanted[0])
        seconds = []
        for _ in range(5):
            started = time.perf_counter()
            for needle in wanted:
                find_ids(ids, needle)
            seconds.append(time.perf_counter() - started)
        rate = ids.nbytes / statistics.median(seconds) / 1e9
        _say(f"find a text of {what} ids, both forms, one core", f"{rate:.1f} GB/s of ids")


if __name__ == "__main__":
    main()
