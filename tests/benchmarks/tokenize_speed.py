"""Compare the kernel with the library's `encode_batch` on one core:

    python tests/benchmarks/tokenize_speed.py --suffix .py --prefix on FOLDER [FOLDER ...]

Enters: files below the folders, by suffix, one document each, equal ones once. Leaves: MB/s and
ratios per repetition and their medians. Method: half of the documents warm the caches up, the
other half is timed unseen; the two sides take turns (A B A B) in one process on one core, and the
ids of both are compared. The library gets a smaller part, since its speed does not depend on it.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"


from pipeline.core.ragged import Rows
from pipeline.stages.tokenizer import load_tokenizer

_DOCUMENT_BYTES = (200, 200_000)


def main() -> None:
    """Parse, gather, time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--suffix", action="append", required=True, help="for example .py, .txt")
    parser.add_argument("--prefix", choices=("on", "off"), default="on")
    parser.add_argument("--megabytes", type=float, default=40, help="stop gathering here")
    parser.add_argument("--reference-megabytes", type=float, default=2)
    parser.add_argument("--batch", type=int, default=1000, help="documents per call")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    texts = list(gather(options.folders, tuple(options.suffix), options.megabytes * 1e6))
    warm, unseen = texts[::2], texts[1::2]
    sample = list(head(unseen, options.reference_megabytes * 1e6))
    print(
        f"{len(texts)} documents; unseen {megabytes(unseen):.1f} MB,"
        f" of which the library gets {megabytes(sample):.1f} MB"
    )
    ratios = []
    for repetition in range(options.repetitions):
        tokenizer = load_tokenizer("modernbert", add_prefix_space=options.prefix == "on")
        run(tokenizer.encode, warm, options.batch)
        slow, expected = run(tokenizer.encode_reference, sample, options.batch)
        fast, got = run(tokenizer.encode, unseen, options.batch)
        num_ids = sum(part.values.size for part in expected)
        flat = [
            np.concatenate([part.values for part in parts])[:num_ids] for parts in (expected, got)
        ]
        if not np.array_equal(*flat):
            raise SystemExit("ids differ")
        speeds = megabytes(unseen) / fast, megabytes(sample) / slow
        ratios.append(speeds[0] / speeds[1])
        print(
            f"{repetition}: kernel {speeds[0]:.1f} MB/s, library {speeds[1]:.2f} MB/s,"
            f" x{ratios[-1]:.1f}"
        )
    print(f"median x{statistics.median(ratios):.1f} (prefix {options.prefix})")


def gather(folders: list[Path], suffixes: tuple[str, ...], limit: float) -> Iterator[str]:
    """Yield distinct UTF-8 files of a plausible size in sorted order, up to `limit` bytes."""
    seen: set[str] = set()
    paths = sorted(p for folder in folders for p in folder.rglob("*") if p.name.endswith(suffixes))
    for path in paths:
        if limit <= 0:
            return
        smallest, largest = _DOCUMENT_BYTES
        if not path.is_file() or not smallest <= path.stat().st_size <= largest:
            continue
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        if text not in seen:
            seen.add(text)
            limit -= path.stat().st_size
            yield text


def head(texts: list[str], limit: float) -> Iterator[str]:
    """Yield leading texts up to `limit` bytes."""
    for text in texts:
        if limit <= 0:
            return
        limit -= len(text.encode())
        yield text


def megabytes(texts: list[str]) -> float:
    """Size of texts in UTF-8."""
    return sum(len(text.encode()) for text in texts) / 1e6


def run(
    encode: Callable[[list[str]], Rows], texts: list[str], batch: int
) -> tuple[float, list[Rows]]:
    """Encode in batches; return seconds and results."""
    batches = [texts[start : start + batch] for start in range(0, len(texts), batch)]
    start = time.perf_counter()
    results = [encode(part) for part in batches]
    return time.perf_counter() - start, results


if __name__ == "__main__":
    main()
