"""Compare row digests with BLAKE3's own speed, and time what a ledger is made and checked with:

    python -m tests.benchmarks.ledger_speed [--repetitions 7] [--megabytes 64]

Leaves: for several lengths of rows, GB/s of one core of the `blake3` package on all bytes as one
message, of `row_digests`, and of the package row by row, on the same bytes; the ratio of the first
to the second is the target. Method: made-up ids (a hash does not look at them), all in memory;
digests must be equal; the three take turns (A B C A B C), the first turn warms up. Then, from an
MDS pool of uint16 in the page cache: reading rows in order, and reading and digesting them. Then
the tree over the nodes of 2.8 billion rows. All seconds are of the one thread's processor time.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from blake3 import blake3

from pipeline.core.arrays import Int64Array, Uint8Array, Uint32Array
from pipeline.dataset.blake3 import row_digests
from pipeline.dataset.ledger import ROWS_PER_NODE, Ledger, LedgerSpan, first_difference, join
from pipeline.dataset.mds.pool import Pool
from pipeline.dataset.mds.writer import MdsWriter

_VOCABULARY = 50_368
_LARGEST_ORDER = 2_800_000_000
_ROWS_AT_ONCE = 1024


class Rows:
    """Rows in memory, as the writer of shards takes them."""

    def __init__(self, lengths: Int64Array, rng: np.random.Generator) -> None:
        self.offsets = np.concatenate([[0], np.cumsum(lengths)])
        self.ids: Uint32Array = rng.integers(0, _VOCABULARY, self.offsets[-1], dtype=np.uint32)

    def __len__(self) -> int:
        return len(self.offsets) - 1


def main() -> None:
    """Parse, time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--megabytes", type=float, default=64, help="of ids as uint32")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    num_ids = int(options.megabytes * 250_000)
    print(
        "| ids a row | one message, GB/s | ours, GB/s | row by row, GB/s | "
        "one message : ours (median) | ratios |\n|---|---|---|---|---|---|"
    )
    for name, lengths in _mixes(num_ids, rng).items():
        _compare(name, Rows(lengths, rng), options.repetitions)
    print("\n| from the page cache | GB/s of stored ids |\n|---|---|")
    _verify(Rows(_mixes(num_ids, rng)["10 to 1,024"], rng), options.repetitions)
    print(f"\n| over {_LARGEST_ORDER:,} rows | seconds |\n|---|---|")
    _find(_LARGEST_ORDER, rng)


def _mixes(num_ids: int, rng: np.random.Generator) -> dict[str, Int64Array]:
    mixed = np.clip(rng.normal(620, 330, num_ids // 600), 10, 1024).astype(np.int64)
    alike = {f"{length:,}": np.full(num_ids // length, length) for length in (10, 100, 300, 1024)}
    return {**alike, "10 to 1,024": mixed, "8,192": np.full(num_ids // 8192, 8192)}


def _compare(name: str, rows: Rows, repetitions: int) -> None:
    words = np.insert(rows.ids, rows.offsets[:-1], np.diff(rows.offsets).astype(np.uint32))
    message = words.view(np.uint8).data
    starts = 4 * (rows.offsets + np.arange(len(rows.offsets)))
    parts = list(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True))
    if row_digests(rows.ids, rows.offsets).tobytes() != _row_by_row(message, parts):
        raise SystemExit("the two sides made other digests")
    seconds = [
        (
            _time(lambda: blake3(message, max_threads=1).digest()),
            _time(lambda: row_digests(rows.ids, rows.offsets)),
            _time(lambda: _row_by_row(message, parts)),
        )
        for _ in range(repetitions + 1)
    ][1:]
    speeds = [
        f"{statistics.median(len(message) / turn[side] / 1e9 for turn in seconds):.2f}"
        for side in range(3)
    ]
    ratios = [turn[1] / turn[0] for turn in seconds]
    print(
        f"| {name} | {' | '.join(speeds)} | **{statistics.median(ratios):.2f}** "
        f"| {' '.join(f'{ratio:.2f}' for ratio in ratios)} |",
        flush=True,
    )


def _row_by_row(message: memoryview, parts: list[tuple[int, int]]) -> bytes:
    return b"".join([blake3(message[start:stop]).digest() for start, stop in parts])


def _time(work: Callable[[], object]) -> float:
    started = time.thread_time()
    work()
    return time.thread_time() - started


def _verify(rows: Rows, repetitions: int) -> None:
    with TemporaryDirectory() as folder:
        writer = MdsWriter(folder=Path(folder), dtype="uint16", size_limit=1 << 26)
        writer.write([b"document"] * len(rows), np.arange(len(rows)), rows.ids, rows.offsets)
        writer.finish()
        pool = Pool.open(Path(folder))
        lengths = pool.lengths()
        expected = _ledger_of(row_digests(rows.ids, rows.offsets))

        def read(digests: list[Uint8Array] | None) -> None:
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                block = np.arange(start, min(start + _ROWS_AT_ONCE, len(rows)))
                ids = pool.gather(block, lengths[block])
                if digests is not None:
                    offsets = np.concatenate([[0], np.cumsum(lengths[block])])
                    digests.append(row_digests(ids, offsets))

        def check() -> None:
            digests: list[Uint8Array] = []
            read(digests)
            if first_difference(_ledger_of(np.concatenate(digests)), expected) is not None:
                raise SystemExit("the pool holds other rows")

        for name, work in (("read", lambda: read(None)), ("read, digested, checked", check)):
            times = [_time(work) for _ in range(repetitions + 1)][1:]
            speed = statistics.median(2 * len(rows.ids) / seconds / 1e9 for seconds in times)
            print(f"| {name} | {speed:.2f} |", flush=True)


def _ledger_of(digests: Uint8Array) -> Ledger:
    span = LedgerSpan(start_row=0)
    span.add(digests)
    return join([span])


def _find(num_rows: int, rng: np.random.Generator) -> None:
    num_nodes = -(-num_rows // ROWS_PER_NODE)
    nodes = rng.integers(0, 256, (num_nodes, 32), dtype=np.uint8)
    other_nodes = nodes.copy()
    other_nodes[num_nodes // 3] ^= 1
    one, other = (
        Ledger(num_rows=num_rows, nodes=array, multiset=0) for array in (nodes, other_nodes)
    )
    print(f"| one tree over {num_nodes:,} nodes | {_time(lambda: one.levels):.3f} |")
    assert len(other.levels) == len(one.levels)
    print(
        f"| the first difference of two trees | {_time(lambda: first_difference(one, other)):.6f} |"
    )


if __name__ == "__main__":
    main()
