"""Count what comes over the network when a part of a remote order is read:

    python -m tests.benchmarks.remote_bytes

Enters: nothing; an order of a million rows is made up, of 10,000 steps of 100 rows, and served by a
process on loopback. It is written twice: in the published layout, ten windows of ten files of 100
steps, and as one file. Leaves: for 1,000 steps in several places the bytes of the row groups that
hold them, the bytes that came with all footers and columns of steps, their ratio, requests and
seconds. Row groups are of 10,000 rows. The bytes depend on nothing but the code; the seconds are
those of loopback and of decoding.
"""

import argparse
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.arrays import Int64Array
from pipeline.dataset.order_folder import list_local
from pipeline.dataset.parquet.reader import PublishedOrder
from tests.support.orders import open_rows
from tests.support.source_server import Server, serve

REPO = "org/order"
STEPS_PER_FILE, FILES_PER_WINDOW = 100, 10
ROWS_PER_STEP, ROWS_PER_GROUP = 100, 10_000
ASKED_STEPS = 1000


def main() -> None:
    """Write, serve, read, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--mean-length", type=int, default=128, help="ids of a row")
    options = parser.parse_args()
    num_steps = options.rows // ROWS_PER_STEP
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        write(root, num_steps, options.mean_length)
        print("| layout | steps | row groups, bytes | came, bytes | ratio | requests | seconds |")
        print("|---|---|---|---|---|---|---|")
        with serve({REPO: root}) as server:
            os.environ["HF_ENDPOINT"] = server.endpoint
            for layout in ("windows", "one.parquet"):
                for start in (1, num_steps // 2 + 1, num_steps // 2 + 51, num_steps - 999):
                    print(measure(server, root, layout, start))


def write(root: Path, num_steps: int, mean_length: int) -> None:
    """Write the same rows in both layouts."""
    rng = np.random.default_rng(1)
    schema = pa.schema([("input_ids", pa.list_(pa.uint32())), ("step", pa.int64())])
    with pq.ParquetWriter(root / "one.parquet", schema, compression="zstd") as whole:
        for first in range(0, num_steps, STEPS_PER_FILE):
            window, label = divmod(first, STEPS_PER_FILE * FILES_PER_WINDOW)
            name = f"steps_{label + 1:06d}_to_{label + STEPS_PER_FILE:06d}.parquet"
            path = root / f"windows/checkpoint_{window + 1:06d}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            columns = made(rng, mean_length)
            for steps, writer in ((first, whole), (label, None)):
                labels = np.repeat(np.arange(1, STEPS_PER_FILE + 1), ROWS_PER_STEP) + steps
                table = pa.table([columns, pa.array(labels)], schema=schema)
                if writer is not None:
                    writer.write_table(table, ROWS_PER_GROUP)
                else:
                    pq.write_table(table, path, ROWS_PER_GROUP, compression="zstd")


def made(rng: np.random.Generator, mean_length: int) -> pa.Array:
    """Make the rows of one file."""
    lengths = rng.integers(2, 2 * mean_length - 1, STEPS_PER_FILE * ROWS_PER_STEP)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    ids = np.minimum(rng.zipf(1.2, offsets[-1]), 50_279).astype(np.uint32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(ids))


def measure(server: Server, root: Path, layout: str, start: int) -> str:
    """Read 1,000 steps from `start`; return a line of the table."""
    server.reset()
    began = time.perf_counter()
    order = open_rows(f"hf://datasets/{REPO}/{layout}")
    rows = ((start - 1) * ROWS_PER_STEP, (start - 1 + ASKED_STEPS) * ROWS_PER_STEP)
    num_rows = sum(len(block) for block in order.read(*rows))
    seconds = time.perf_counter() - began
    assert num_rows == ASKED_STEPS * ROWS_PER_STEP
    counters = server.counters()
    needed = held(PublishedOrder.of(list_local(root / layout)), np.array(rows))
    ratio = counters["bytes"] / needed
    return (
        f"| {layout} | {start:,} to {start + ASKED_STEPS - 1:,} | {needed:,} | "
        f"{counters['bytes']:,} | {ratio:.4f} | {counters['requests']} | {seconds:.2f} |"
    )


def held(order: PublishedOrder, rows: Int64Array) -> int:
    """Return the bytes of ids in the row groups that hold rows."""
    num_bytes = first = 0
    for parquet in order.parquets:
        metadata = pq.read_metadata(parquet.where)
        for group in range(metadata.num_row_groups):
            stop = first + metadata.row_group(group).num_rows
            if first < rows[1] and stop > rows[0]:
                num_bytes += metadata.row_group(group).column(0).total_compressed_size
            first = stop
    return num_bytes


if __name__ == "__main__":
    main()
