"""Measure tracing on a simulated order:

    python -m tests.benchmarks.trace_speed [--rows 1e8] [--scratch FOLDER]

Enters: nothing; provenance is made up and written by the writers that a build uses: steps of 4,608
rows, files of 100 steps, ids of 47 bytes in 12 sources of 200 files, documents of about three rows.
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
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.audit.trace.lookup import Trace
from pipeline.audit.trace.text_search import find_ids
from pipeline.core.arrays import Uint8Array
from pipeline.core.digest import FileDigest
from pipeline.dataset import (
    DIGEST_BYTES,
    ROWS_PER_NODE,
    Ledger,
    Manifest,
    MixtureRecord,
    OrderedWindow,
    OrderRecord,
    State,
    TokenizerRecord,
    manifest_bytes,
)
from pipeline.dataset.parquet.writer import write_steps
from pipeline.dataset.paths import MANIFEST, ORDER, PROVENANCE, STEPS
from pipeline.dataset.provenance.writer import ProvenanceBlock, ProvenanceWriter
from pipeline.dataset.steps import STEPS_PER_FILE
from pipeline.runner.shuffle import index_rows
from pipeline.runner.shuffle.jobs import save_for_tasks

ROWS_PER_STEP = 4608
STEPS_PER_WINDOW = 2998
STEPS_AT_ONCE = 5
NUM_SOURCES, NUM_FILES = 12, 200
ROWS_PER_DOCUMENT = 3
NUM_LOOKUPS = 300
NUM_IDS = 64 << 20

PLACES = [
    (f"source-{source:02d}", f"data/source-{source:02d}/train-{file:05d}.jsonl.gz")
    for source in range(NUM_SOURCES)
    for file in range(NUM_FILES)
]
_HEX = np.array([list(f"{byte:02x}".encode()) for byte in range(256)], np.uint8)


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
        simulate(Path(folder), num_steps)
        _look_up(Path(folder))
    _scan()


def _say(what: str, measured: str) -> None:
    print(f"| {what} | {measured} |", flush=True)


def _mixed(numbers: NDArray[np.uint64], salt: int) -> NDArray[np.uint64]:
    """Return numbers that look random and follow from those given."""
    value = numbers * np.uint64(0x9E3779B97F4A7C15) + np.uint64(salt)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _spell(documents: NDArray[np.uint64]) -> Uint8Array:
    """Return ids as web crawls have them, `<urn:uuid:...>`: uint8 [num_documents, 47]."""
    halves = np.stack([_mixed(documents, 1), _mixed(documents, 2)], axis=1)
    digits = _HEX[halves.view(np.uint8)].reshape(len(documents), 32)
    spelled = np.empty((len(documents), 47), np.uint8)
    spelled[:] = np.frombuffer(b"<urn:uuid:00000000-0000-0000-0000-000000000000>", np.uint8)
    place = 0
    for start, stop in pairwise([10, 19, 24, 29, 34, 47]):
        width = stop - start - 1
        spelled[:, start : start + width] = digits[:, place : place + width]
        place += width
    return spelled


def _block(rows: NDArray[np.int64], num_rows: int) -> ProvenanceBlock:
    drawn = _mixed(rows.astype(np.uint64), 0) % np.uint64(num_rows)
    documents = drawn // np.uint64(ROWS_PER_DOCUMENT)
    spelled = _spell(documents)
    return ProvenanceBlock(
        steps=rows // ROWS_PER_STEP + 1,
        places=(_mixed(documents, 3) % np.uint64(len(PLACES))).astype(np.int32),
        documents=spelled.reshape(-1),
        offsets=np.arange(len(rows) + 1) * spelled.shape[1],
        chunks=(drawn % np.uint64(ROWS_PER_DOCUMENT)).astype(np.uint32),
        num_chunks=np.full(len(rows), ROWS_PER_DOCUMENT, np.uint32),
        num_tokens=(512 + _mixed(documents, 4) % np.uint64(513)).astype(np.uint32),
    )


def _files(num_steps: int) -> Iterator[tuple[str, int, int]]:
    """Yield the path of each file of provenance and its steps, from 0."""
    for window, first in enumerate(range(0, num_steps, STEPS_PER_WINDOW), 1):
        last = min(first + STEPS_PER_WINDOW, num_steps)
        for start in range(first, last, STEPS_PER_FILE):
            stop = min(start + STEPS_PER_FILE, last)
            name = f"steps_{start - first + 1:06d}_to_{stop - first:06d}.parquet"
            yield f"checkpoint_{window:06d}/{name}", start, stop


def simulate(out: Path, num_steps: int) -> None:
    """Write an output of which all but the rows themselves is there."""
    num_rows = num_steps * ROWS_PER_STEP
    paths, sizes = [], []
    seconds = 0.0
    for name, start, stop in _files(num_steps):
        paths.append(out / PROVENANCE / name)
        sizes.append((stop - start) * ROWS_PER_STEP)
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        bounds = [*range(start, stop, STEPS_AT_ONCE), stop]
        blocks = [
            _block(np.arange(a * ROWS_PER_STEP, b * ROWS_PER_STEP), num_rows)
            for a, b in pairwise(bounds)
        ]
        started = time.perf_counter()
        with ProvenanceWriter(paths[-1], start * ROWS_PER_STEP, PLACES) as writer:
            for block in blocks:
                writer.write(block)
        seconds += time.perf_counter() - started
    num_bytes = sum(path.stat().st_size for path in paths)
    _say("rows, files of rows", f"{num_rows:,}, {len(paths)}")
    _say("write rows", f"{num_rows / seconds / 1e6:.1f} M rows/s, {num_bytes / num_rows:.1f} B/row")
    names = [path.relative_to(out).as_posix() for path in paths]
    files = _index(out, num_rows, [*zip(names, sizes, strict=True)])
    num_bytes = sum(file.num_bytes for file in files.values())
    _say("index", f"{len(files)} files, {num_bytes / num_rows:.1f} B/row")
    files.update((name, FileDigest.of(out / name)) for name in names)
    _write_manifest(out, num_steps, files)


def _index(out: Path, num_rows: int, files: list[tuple[str, int]]) -> dict[str, FileDigest]:
    """Index provenance as a build does; say of each pass its speed and the peak memory so far."""

    class Timed:
        def map(self, stage: str, function: Callable[[Any], Any], tasks: list[Any]) -> list[Any]:
            if not tasks:
                return []
            started = time.perf_counter()
            results = [function(task) for task in tasks]
            seconds = time.perf_counter() - started
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            speed = f"{num_rows / seconds / 1e6:.2f} M rows/s"
            _say(f"{stage}: {len(tasks)} tasks", f"{speed}, peak memory so far {peak:.0f} MiB")
            return results

    state = State(out=out)
    save_for_tasks(state, state.pool_files, PLACES)
    plan = index_rows.plan_index(num_rows)
    job = index_rows.IndexJob(out=out, key="", plan=plan, hashes_all=False)
    _say("cells read to index", f"{job.plan.num_reads:,}")
    made = index_rows.index_documents(job, Timed(), files)
    shutil.rmtree(state.root)
    return made


def _write_manifest(out: Path, num_steps: int, files: dict[str, FileDigest]) -> None:
    (out / ORDER).mkdir()
    num_rows = np.full(num_steps, ROWS_PER_STEP, np.int64)
    write_steps(out / STEPS, num_rows=num_rows, num_tokens=num_rows, sha256=["0" * 64] * num_steps)
    num_rows_of_order = num_steps * ROWS_PER_STEP
    windows = tuple(
        OrderedWindow(
            folder=f"{ORDER}/checkpoint_{number:06d}",
            first_step=first,
            num_steps=min(STEPS_PER_WINDOW, num_steps - first),
            num_tokens=0,
            first_row=first * ROWS_PER_STEP,
            num_rows=min(STEPS_PER_WINDOW, num_steps - first) * ROWS_PER_STEP,
            multiset_root="",
        )
        for number, first in enumerate(range(0, num_steps, STEPS_PER_WINDOW), 1)
    )
    nodes = np.zeros((-(-num_rows_of_order // ROWS_PER_NODE), DIGEST_BYTES), np.uint8)
    ledger = Ledger(num_rows=num_rows_of_order, nodes=nodes, multiset=0)
    order = OrderRecord(
        key="", algorithm="", seed=0, epoch=0, view="stored", format="parquet",
        num_samples=num_rows_of_order, num_steps=num_steps, num_rows=num_rows_of_order,
        num_rows_dropped=0, num_tokens=0, num_tokens_dropped=0, num_tokens_cut=0,
        num_tokens_added=0, windows=windows, ledger=ledger.describe(), root_sha256="",
    )  # fmt: skip
    manifest = Manifest(
        code="",
        mixture=MixtureRecord(name="", fingerprint="", declaration={}, overrides=()),
        lock=None,
        tokenizer=TokenizerRecord(name="", sha256="", cls_id=0, sep_id=0),
        sources={},
        order=order,
        files={**files, STEPS: FileDigest.of(out / STEPS)},
    )
    (out / MANIFEST).write_bytes(manifest_bytes(manifest))


def _look_up(out: Path) -> None:
    started = time.perf_counter()
    trace = Trace.open(out)
    _say("open", f"{(time.perf_counter() - started) * 1e3:.0f} ms")
    # A command looks up once; over hundreds, a collection of all that is loaded would add 100 ms.
    gc.collect()
    gc.freeze()
    rng = np.random.default_rng(0)
    num_steps = len(trace.positions.first_rows) - 1
    steps = rng.integers(1, num_steps + 1, NUM_LOOKUPS).tolist()
    _time("by step", [lambda step=step: _step(trace, step) for step in steps])
    rows = rng.integers(0, trace.positions.num_rows, NUM_LOOKUPS)
    spelled = _block(rows, trace.positions.num_rows).documents.tobytes()
    ids = [spelled[start : start + 47].decode() for start in range(0, len(spelled), 47)]
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
