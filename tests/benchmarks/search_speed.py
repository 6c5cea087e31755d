"""Measure the search index beside a scan, on made-up rows:

    python -m tests.benchmarks.search_speed [--tokens 1e8] [--memory 4GiB] [--index FOLDER]

Enters: nothing; rows of 1,024 tokens are made up, of which an id as common as the r-th is drawn as
often as a word of rank r of text, and phrases are planted. Leaves: seconds, bytes and peak memory
of the index, what making up the rows alone takes, and of look-ups the median and the slowest, each
beside one scan of the same tokens in memory. Method: the index is built by the function of the
command, opened once, and looked up many times from the page cache. With `--index` it is kept there,
and built only if it is not there already; it takes 6 bytes a token.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np

from pipeline.audit.search import SearchIndex, build_index, section_tokens_within
from pipeline.audit.trace.text_search import find_ids
from pipeline.core.arrays import Uint32Array
from pipeline.core.ragged import Rows
from pipeline.core.units import BYTES
from pipeline.dataset import Order
from pipeline.dataset.rows import RowReader
from tests.support.process_memory import status_bytes

NUM_IDS = 50_000
ROW_TOKENS = 1024
ROWS_AT_ONCE = 1024
NUM_LOOKUPS = 200
SCANNED_ROWS = 1 << 16
PHRASE = np.random.default_rng(1).integers(100, 5000, 20).astype(np.uint32)
"""In one row of each block."""


class MadeUpRows:
    """Rows that follow from their number."""

    def __init__(self, num_tokens: int) -> None:
        self.num_rows = -(-num_tokens // ROW_TOKENS)

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        for first in range(start, stop, ROWS_AT_ONCE):
            ids = block(first // ROWS_AT_ONCE)
            num_rows = min(ROWS_AT_ONCE, stop - first)
            yield Rows(ids[: num_rows * ROW_TOKENS], np.arange(num_rows + 1) * ROW_TOKENS)


def block(number: int) -> Uint32Array:
    """Return the ids of so many rows at once, with the phrase in the third one."""
    rng = np.random.default_rng(number)
    # Ranks whose frequencies are 1/r.
    ranks = np.exp(rng.random(ROWS_AT_ONCE * ROW_TOKENS, np.float32) * np.log(NUM_IDS))
    ids = ranks.astype(np.uint32)
    ids[2 * ROW_TOKENS + 10 :][: len(PHRASE)] = PHRASE
    return ids


def main() -> None:
    """Parse, index, look up, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tokens", type=float, default=1e8)
    parser.add_argument("--memory", type=BYTES.parse, default=BYTES.parse("4GiB"))
    parser.add_argument("--index", type=Path, help="where the index is kept (default: it is not)")
    options = parser.parse_args()
    rows = MadeUpRows(int(options.tokens))
    order = Order(where="made up", rows=cast(RowReader, rows), digest="0" * 64)
    with TemporaryDirectory() as scratch:
        print("| what | measured |")
        print("|---|---|")
        folder = options.index or Path(scratch, "index")
        _build(order, folder, section_tokens_within(options.memory))
        _look_up(SearchIndex.open(folder, order))


def _say(what: str, measured: str) -> None:
    print(f"| {what} | {measured} |", flush=True)


def _build(order: Order, folder: Path, section_tokens: int) -> None:
    started, used = time.perf_counter(), time.process_time()
    record = build_index(order, folder, section_tokens=section_tokens, report=lambda *_: None)
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    started = time.process_time()
    for number in range(8):
        block(number)
    making = (time.process_time() - started) / (8 * ROWS_AT_ONCE * ROW_TOKENS) * record.num_tokens
    num_bytes = sum(file.num_bytes for one in record.sections for file in one.files.values())
    _say("tokens, rows, sections",
         f"{record.num_tokens:,}, {record.num_rows:,}, {len(record.sections)}")  # fmt: skip
    _say("build", f"{seconds:.0f} s, {cpu:.0f} s of CPU, of which {making:.0f} s make the rows up")
    _say("peak memory", f"{status_bytes('VmHWM') / 2**30:.2f} GiB")
    _say("bytes", f"{num_bytes:,}, {num_bytes / record.num_tokens:.2f} a token")


def _look_up(index: SearchIndex) -> None:
    absent = PHRASE[::-1].copy()
    frequent = np.arange(1, 6, dtype=np.uint32)
    wanted = {
        "one common word": frequent[4:5],
        "one rare word": np.array([NUM_IDS - 7], np.uint32),
        "three common words": frequent[:3],
        "six common words": np.array([1, 2, 1, 1, 2, 3], np.uint32),
        "phrase of 20": PHRASE,
        "phrase that is not there": absent,
    }
    num_blocks = -(-min(index.record.num_rows, SCANNED_ROWS) // ROWS_AT_ONCE)
    ids = np.concatenate([block(number) for number in range(num_blocks)])
    for what, pattern in wanted.items():
        # As many forms as a text has, with the space before it and without.
        patterns = [pattern, np.append(np.uint32(NUM_IDS + 1), pattern)]
        taken = []
        for _ in range(NUM_LOOKUPS):
            started = time.perf_counter()
            found = index.find(patterns)
            taken.append((time.perf_counter() - started) * 1e3)
        bounds = np.linspace(0, index.record.num_rows, 241).astype(np.int64)
        started = time.perf_counter()
        index.count_between(patterns, bounds)
        over_time = (time.perf_counter() - started) * 1e3
        started = time.perf_counter()
        for one in patterns:
            find_ids(ids, one)
        scan = (time.perf_counter() - started) * 1e3 * index.record.num_tokens / len(ids)
        median = statistics.median(taken)
        _say(
            f"{what}: {found.count:,} places",
            f"first {taken[0]:.1f} ms, median {median:.2f} ms, slowest of the others"
            f" {max(taken[1:]):.1f} ms; in 240 spans of rows"
            f" {over_time:.0f} ms; scan {scan:.0f} ms, {scan / median:.0f} times",
        )


if __name__ == "__main__":
    main()
