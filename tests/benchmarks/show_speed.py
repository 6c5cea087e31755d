"""Measure how fast an order is shown, on a simulated one:

    python -m tests.benchmarks.show_speed [--rows 1e8] [--scratch FOLDER] [--page]

Enters: nothing; an order is made up (`tests/support/made_order.py`), and of its rows three files
of five steps, of 1,024 ids each, that a ledger agrees with. All other files of rows are named and
not there, which no view but theirs notices. Leaves: seconds to open, and of each view the median
and the slowest in ms, at places drawn at random, once each, in brackets by processor time; beside
that a full pass over provenance, which nothing of this may need. Files are in the page cache. It
takes about 40 bytes a row. With `--page` also what a reader does in a browser, from the key to the
frame that shows all of the answer: while the server counts rows, and after.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pipeline.core.digest import FileDigest
from pipeline.core.errors import PipelineError
from pipeline.core.ragged import offsets_of
from pipeline.dataset import (
    ROWS_PER_NODE,
    Ledger,
    manifest_bytes,
    node_digest,
    read_manifest,
    row_digests,
)
from pipeline.dataset.parquet.writer import RowWriter
from pipeline.dataset.paths import MANIFEST, ORDER
from pipeline.show import Shown, answer
from pipeline.stages.tokenizer import EMBEDDED, load_tokenizer
from tests.support.made_order import (
    ROWS_PER_STEP,
    STEPS_PER_WINDOW,
    MadeOrder,
    write_index,
    write_manifest,
    write_rows,
)
from tests.support.timed_page import time_page

STEPS_PER_FILE = 5
NUM_IDS = 1024
NUM_ASKED = 40
DECLARED = {
    "chunk": {"algorithm": "whole-v1"},
    "order": {"global_batch_size": ROWS_PER_STEP, "max_seq_len": NUM_IDS},
    "phase": "checkpoint",
    "tokenizer": {"revision": None, "add_prefix_space": False},
}


def main() -> None:
    """Parse, simulate, ask, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=float, default=1e6)
    parser.add_argument("--scratch", type=Path, help="where files are written (default: as usual)")
    parser.add_argument("--page", action="store_true", help="time the page too, in Chromium")
    options = parser.parse_args()
    print("| what | measured |")
    print("|---|---|")
    with TemporaryDirectory(dir=options.scratch) as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        out = Path(folder, "out")
        out.mkdir()
        num_steps = -(-int(options.rows) // ROWS_PER_STEP)
        made = MadeOrder(out, num_steps)
        began = time.perf_counter()
        write_manifest(made, {**write_rows(made)[0], **write_index(made)})
        seconds = time.perf_counter() - began
        _say("rows, seconds to make them up", f"{made.num_rows:,}, {seconds:.0f}")
        written = _write_rows(out, num_steps)
        _measure(out, written)
        if options.page:
            time_page(made, [step for part in written for step in part[1:-1]], _say, Path(folder))


def _say(what: str, measured: str) -> None:
    print(f"| {what} | {measured} |", flush=True)


def _write_rows(out: Path, num_steps: int) -> list[range]:
    """Write three files of rows, and a manifest that names all; return the steps of the three."""
    manifest = read_manifest(out / MANIFEST)
    nodes = np.zeros((-(-num_steps * ROWS_PER_STEP // ROWS_PER_NODE), 32), np.uint8)
    firsts = [
        (window, start, min(start + STEPS_PER_FILE, window + STEPS_PER_WINDOW, num_steps))
        for window in range(0, num_steps, STEPS_PER_WINDOW)
        for start in range(window, min(window + STEPS_PER_WINDOW, num_steps), STEPS_PER_FILE)
    ]
    chosen = {len(firsts) * part // 3 for part in range(3)}
    files, written = dict(manifest.files), []
    for number, (window, start, stop) in enumerate(firsts):
        name = (
            f"{ORDER}/checkpoint_{window // STEPS_PER_WINDOW + 1:06d}/"
            f"steps_{start - window + 1:06d}_to_{stop - window:06d}.parquet"
        )
        files[name] = FileDigest(num_bytes=1, sha256="0" * 64)
        if number in chosen:
            files[name] = _write_file(out / name, start, stop, window, nodes)
            written.append(range(start + 1, stop + 1))
    rows = num_steps * ROWS_PER_STEP
    order = replace(
        manifest.order, ledger=Ledger(num_rows=rows, nodes=nodes, multiset=0).describe()
    )
    tokenizer = load_tokenizer(EMBEDDED, add_prefix_space=False)
    made = replace(
        manifest,
        order=order,
        files=files,
        mixture=replace(manifest.mixture, declaration=DECLARED),
        tokenizer=replace(manifest.tokenizer, name=EMBEDDED, sha256=tokenizer.digest),
    )
    (out / MANIFEST).write_bytes(manifest_bytes(made))
    return written


def _write_file(path: Path, start: int, stop: int, window: int, nodes: Any) -> FileDigest:
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(start)
    offsets = offsets_of([NUM_IDS] * ROWS_PER_STEP)
    digests = []
    with RowWriter(path) as writer:
        for step in range(start, stop):
            ids = (generator.random(ROWS_PER_STEP * NUM_IDS) ** 4 * 50_000).astype(np.uint32)
            writer.write(ids, offsets, np.full(ROWS_PER_STEP, step - window + 1))
            digests.append(row_digests(ids, offsets))
    every = np.concatenate(digests)
    first = start * ROWS_PER_STEP
    for node in range(-(-first // ROWS_PER_NODE), (first + len(every)) // ROWS_PER_NODE):
        begin = node * ROWS_PER_NODE - first
        digest = node_digest(every[begin : begin + ROWS_PER_NODE])
        nodes[node] = np.frombuffer(digest, np.uint8)
    return writer.file.digest


def _measure(out: Path, written: list[range]) -> None:
    seconds, used = [], []
    for _ in range(3):
        began = time.perf_counter(), time.process_time()
        shown = Shown.open(out)
        seconds.append(time.perf_counter() - began[0])
        used.append(time.process_time() - began[1])
    _say("open", f"{statistics.median(seconds):.2f} ({statistics.median(used):.2f}) s")
    generator = np.random.default_rng(1)
    # Steps of which all nodes are written: those inside a file.
    steps = [step for part in written for step in part[1:-1]]
    rows = [(step - 1) * ROWS_PER_STEP + int(generator.integers(ROWS_PER_STEP)) for step in steps]
    num_steps = len(shown.need_positions().first_rows) - 1
    # Loads the tokenizer and compiled code, as the server does when it starts.
    _ask(shown, f"row?row={rows[0]}")
    shown.strip_maker.start, start = lambda: None, shown.strip_maker.start  # type: ignore[method-assign]
    _timed(shown, "order, before any count: first look", ["order"])
    _timed(shown, "order, before any count: another look", ["order"] * 5)
    _timed(shown, "order, before any count: any range", _ranges(generator, num_steps))
    began = time.perf_counter(), time.process_time()
    shown.strip_maker.make()
    passed = time.perf_counter() - began[0], time.process_time() - began[1]
    _say("exact counts, in a thread", f"{passed[0]:.1f} ({passed[1]:.1f}) s")
    if shown.strip_maker.error is not None:
        raise shown.strip_maker.error
    shown.strip_maker.start = start  # type: ignore[method-assign]
    _timed(shown, "order, counted: whole", ["order"] * 20)
    _timed(shown, "order, counted: any range", _ranges(generator, num_steps))
    _timed(shown, "step, 256 of its 4,608 rows", [f"step?step={step}&rows=256" for step in steps])
    _timed(shown, "step, 4,096 of its rows", [f"step?step={step}" for step in steps])
    _timed(shown, "row", [f"row?row={row}" for row in rows])
    _timed(shown, "proof", [f"proof?row={row}" for row in rows])
    assert shown.trace is not None
    places = generator.integers(0, shown.num_rows, NUM_ASKED).tolist()
    documents = [shown.trace.provenance.rows(row, row + 1)[0] for row in places]
    asked = [f"document?document={one.document}&source={one.source}" for one in documents]
    _timed(shown, "document", asked)
    _timed(shown, "about", ["about"] * 10)
    _timed(shown, "budget", ["budget"] * 10)
    began = time.perf_counter()
    for _ in shown.trace.provenance.tables(0, shown.num_rows):
        pass
    _say("a full pass over provenance", f"{time.perf_counter() - began:.1f} s")


def _ranges(generator: np.random.Generator, num_steps: int) -> list[str]:
    pairs = np.sort(generator.integers(1, num_steps + 1, (NUM_ASKED, 2)), axis=1).tolist()
    return [f"order?first={first}&last={last}" for first, last in pairs]


def _timed(shown: Shown, what: str, queries: Iterable[str]) -> None:
    took, used = [], []
    for query in queries:
        began = time.perf_counter(), time.process_time()
        json.dumps(_ask(shown, query))
        took.append((time.perf_counter() - began[0]) * 1e3)
        used.append((time.process_time() - began[1]) * 1e3)
    middle, most = (f"{kind(took):.0f} ({kind(used):.0f})" for kind in (statistics.median, max))
    _say(what, f"median {middle} ms, slowest {most} ms")


def _ask(shown: Shown, query: str) -> dict[str, Any]:
    name, _, rest = query.partition("?")
    found = answer(shown, name, rest.replace("<", "%3C").replace(">", "%3E"))
    if name == "step" and found["rows_problem"] is not None:
        raise PipelineError(found["rows_problem"])
    return found


if __name__ == "__main__":
    main()
