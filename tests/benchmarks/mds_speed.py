"""Compare our MDS writer and reader with the public package's:

    python -m tests.benchmarks.mds_speed FOLDER --oracle-python PYTHON

Enters: the corpus of `corpus`, cut by `ettin-slice-v1`; the interpreter of `tests/oracle/setup.sh`.
Leaves: samples a second and ratios. Method: both write the same rows to the same file system and
must give the same bytes, then read all rows back in the same random order, with their ids, from
files in the page cache; the sides take turns (A B A B), each in a process of its own. The public
side is its `MDSWriter` and `get_item` of its readers of raw shards, the least that its datasets do.
A `--scratch` in memory shows the formats' own cost, without that of the disk.
"""

import argparse
import shutil
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.dataset.mds.pool import Pool
from pipeline.dataset.mds.writer import Dtype, MdsWriter
from pipeline.stages.chunking.slice import Cutter, SliceChunker
from pipeline.stages.tokenizer import load_tokenizer
from tests.benchmarks import corpus
from tests.oracle.servant import Servant, open_servant

SIZE_LIMIT = 1 << 26
# As many as a step of the published order takes.
ROWS_AT_ONCE = 1024


class Rows:
    """Rows in memory, as our writer takes them."""

    def __init__(self, names: list[bytes], ids: Uint32Array, offsets: Int64Array) -> None:
        self.names, self.ids, self.offsets = names, ids, offsets

    def __len__(self) -> int:
        return len(self.names)


def main() -> None:
    """Parse, cut, time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    corpus.add_arguments(parser)
    parser.add_argument("--scratch", type=Path, help="where shards are written (default: FOLDER)")
    parser.add_argument("--oracle-python", type=Path, required=True)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--part-megabytes", type=float, default=60, help="of text of each kind")
    options = parser.parse_args()
    corpus.ensure(options.corpus, options.megabytes)
    print("| rows | what | public, samples/s | ours, samples/s | ratio (median) | ratios |")
    print("|---|---|---|---|---|---|")
    with open_servant(options.oracle_python) as servant:
        for size in (1024, 8192):
            rows = _cut(options.corpus, size, options.part_megabytes)
            dtypes: tuple[Dtype, ...] = ("uint16", "uint32")
            for dtype in dtypes:
                with TemporaryDirectory(dir=options.scratch or options.corpus) as folder:
                    _compare(servant, rows, size, dtype, Path(folder), options.repetitions)


def _cut(folder: Path, size: int, num_megabytes: float) -> Rows:
    tokenizer = load_tokenizer("modernbert", add_prefix_space=False)
    chunker = SliceChunker(Cutter(piece_size=size - 2, min_size=512, skip_below=128, seed=42))
    names: list[bytes] = []
    ids, lengths = [], []
    for kind in corpus.KINDS:
        texts: list[str] = []
        for path in corpus.files(folder, kind):
            texts += corpus.read(path)
            if corpus.megabytes(texts) > num_megabytes:
                break
        encoded = tokenizer.encode(corpus.head(texts, num_megabytes))
        chunks = chunker.chunk(encoded)
        names += [f"{kind}-{document:08d}".encode() for document in chunks.documents]
        ids.append(chunks.rows.values)
        lengths.append(chunks.rows.lengths())
    return Rows(names, np.concatenate(ids), np.cumsum(np.concatenate([[0], *lengths])))


def _compare(
    servant: Servant, rows: Rows, size: int, dtype: Dtype, folder: Path, repetitions: int
) -> None:
    saved, order_file = folder / "rows.npz", folder / "order.npy"
    names = np.array([name.decode() for name in rows.names])
    np.savez(saved, ids=rows.ids, offsets=rows.offsets, names=names)
    order = np.random.default_rng(0).permutation(len(rows))
    np.save(order_file, order)
    seconds: dict[str, list[tuple[float, float]]] = {"write": [], "read": []}
    for turn in range(repetitions + 1):  # The first warms up.
        ours, theirs = folder / "ours", folder / "theirs"
        for path in (ours, theirs):
            shutil.rmtree(path, ignore_errors=True)
        answer = servant.ask("write", rows=saved, folder=theirs, dtype=dtype, size_limit=SIZE_LIMIT)
        mine = _write(rows, ours, dtype)
        _expect_equal(ours, theirs)
        got = servant.ask("get_items", folder=theirs, order=order_file)
        reading, num_ids = _read(ours, order)
        assert num_ids == got["num_ids"] == len(rows.ids)
        if turn:
            seconds["write"].append((answer["seconds"], mine))
            seconds["read"].append((got["seconds"], reading))
    for what, pairs in seconds.items():
        ratios = [public / own for public, own in pairs]
        public, own = (
            statistics.median(len(rows) / pair[side] for pair in pairs) for side in (0, 1)
        )
        print(
            f"| {len(rows):,} of at most {size} ids, {dtype} | {what} | {public:,.0f} | {own:,.0f} "
            f"| **{statistics.median(ratios):.0f}** | {' '.join(f'{r:.0f}' for r in ratios)} |",
            flush=True,
        )


def _write(rows: Rows, folder: Path, dtype: Dtype) -> float:
    folder.mkdir()
    started = time.perf_counter()
    writer = MdsWriter(folder=folder, dtype=dtype, size_limit=SIZE_LIMIT)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        stop = min(start + ROWS_AT_ONCE, len(rows))
        names = rows.names[start:stop]
        writer.write(names, np.arange(len(names)), rows.ids, rows.offsets[start : stop + 1])
    writer.finish()
    return time.perf_counter() - started


def _read(folder: Path, order: Int64Array) -> tuple[float, int]:
    started = time.perf_counter()
    pool = Pool.open(folder)
    lengths = pool.lengths()
    num_ids = 0
    for start in range(0, len(order), ROWS_AT_ONCE):
        rows = order[start : start + ROWS_AT_ONCE]
        pool.document_ids(rows)
        num_ids += len(pool.gather(rows, lengths[rows]))
    return time.perf_counter() - started, num_ids


def _expect_equal(ours: Path, theirs: Path) -> None:
    names = sorted(path.name for path in theirs.iterdir())
    if names != sorted(path.name for path in ours.iterdir()):
        raise SystemExit("the two sides wrote other files")
    for name in names:
        if (ours / name).read_bytes() != (theirs / name).read_bytes():
            raise SystemExit(f"{name}: the two sides wrote other bytes")


if __name__ == "__main__":
    main()
