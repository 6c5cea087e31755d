"""Measure deduplication and decontamination: speed of one core, and memory.

    python -m tests.benchmarks.dedup_speed FOLDER

Enters: the corpus of `corpus`. Leaves two tables. Exact: the texts several times over, nine of ten
made different by a number at the end, from documents in memory to what goes; then decisions alone
on made-up surveys, which shows what memory does as documents grow. Peaks are of a process of its
own: all of it (`VmHWM`), what is not mapped from files (`RssAnon`, looked at every 20 ms), and how
much of it is the texts that the benchmark holds. Near duplicates and contamination: documents a
second beside datatrove's own blocks on the same texts, with the words of spaCy, as it comes, and
with words split at white space. Seconds are those of the processor, of all threads together, so of
one core.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from pipeline.config.mixture import DedupSpec, MinHashSpec
from pipeline.core.document import Document
from pipeline.stages.dedup.decontaminate import Contamination, read_evaluation
from pipeline.stages.dedup.find_drops import find_drops
from pipeline.stages.dedup.scan import ScannedFile, save_scan, scan_documents
from tests.benchmarks import corpus

_FILES = 8
_BLOCK = 2000
_MADE_UP = [1_000_000, 10_000_000, 50_000_000]
_EVALUATIONS = 2000
_NGRAM_WORDS = 13


def main() -> None:
    """Parse, measure, print; with `--child`, run one measurement and print it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    corpus.add_arguments(parser)
    parser.add_argument("--copies", type=int, default=26, help="times that the texts are taken")
    parser.add_argument("--made-up", type=int, nargs="*", default=_MADE_UP, help="sizes of surveys")
    parser.add_argument("--texts", type=int, default=1200, help="compared with datatrove's blocks")
    parser.add_argument("--memory", type=int, default=256, help="MiB of a bucket")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, size = options.child
        print(json.dumps(_measured(_CHILDREN[name], options, int(size))))
        return
    corpus.ensure(options.corpus, options.megabytes)
    print("| exact | documents | survey, s | decide, s | M/min | peak, MiB | not mapped | texts |")
    print("|---|---|---|---|---|---|---|---|")
    _print("texts", _child("texts", options.copies))
    for size in options.made_up:
        _print("made-up digests", _child("digests", size))
    print("\n| one core, documents/s | ours | datatrove, spaCy | datatrove, split |")
    print("|---|---|---|---|")
    texts = _texts(options)
    texts = texts[:: max(1, len(texts) // options.texts)]
    print(f"{len(texts):,} texts of {corpus.megabytes(texts):.1f} MB", file=sys.stderr)
    for name, measure in (("near duplicates", _near), ("contamination", _contamination)):
        print(f"| {name} | " + " | ".join(f"{len(texts) / s:,.0f}" for s in measure(texts)) + " |")


def _print(name: str, found: dict[str, float]) -> None:
    seconds = found["survey"] + found["decide"]
    print(
        f"| {name} | {found['documents']:,} | {found['survey']:.1f} | {found['decide']:.1f} "
        f"| {found['documents'] / 1e6 / seconds * 60:.1f} "
        f"| {found['peak'] / 1024:.0f} | {found['anonymous'] / 1024:.0f} "
        f"| {found['texts'] / 1024:.0f} |",
        flush=True,
    )


def _child(name: str, size: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.dedup_speed", *sys.argv[1:]]
    command += ["--child", name, str(size)]
    found: dict[str, float] = json.loads(subprocess.check_output(command))
    return found


def _measured(
    measure: Callable[[argparse.Namespace, int], dict[str, float]],
    options: argparse.Namespace,
    size: int,
) -> dict[str, float]:
    anonymous, is_over = [0], threading.Event()

    def watch() -> None:
        while not is_over.wait(0.02):
            anonymous.append(_status("RssAnon"))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    found = measure(options, size)
    is_over.set()
    watcher.join()
    return {**found, "peak": _status("VmHWM"), "anonymous": max(anonymous)}


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def _from_texts(options: argparse.Namespace, copies: int) -> dict[str, float]:
    before = _status("RssAnon")
    texts = _texts(options)
    held = _status("RssAnon") - before
    scan_documents([Document(id="", text="warm", row=0)], None, None)
    files, surveying = [], 0.0
    with TemporaryDirectory(dir=options.corpus) as folder:
        for number in range(_FILES):
            path = Path(folder, f"{number}.parquet")
            batches: list[pa.RecordBatch] = []
            # A file takes every eighth copy, whole.
            for copy in range(number, copies, _FILES):
                for documents in _documents(texts, copy):
                    started = time.process_time()
                    batches.append(scan_documents(documents, None, None))
                    surveying += time.process_time() - started
            started = time.process_time()
            save_scan(path, Path(folder), None, batches)
            surveying += time.process_time() - started
            files.append(ScannedFile(source="s", file=f"{number}", path=path))
        deciding, num_drops = _decide(files, Path(folder), options.memory << 20)
    # All but the first copy of a text in ten; and what differs in white space alone.
    assert num_drops >= (copies - 1) * len(texts[::10]), num_drops
    documents = copies * len(texts)
    return {"documents": documents, "survey": surveying, "decide": deciding, "texts": held}


def _documents(texts: list[str], copy: int) -> Iterator[list[Document]]:
    for start in range(0, len(texts), _BLOCK):
        yield [
            Document(
                id="",
                text=text if row % 10 == 0 else f"{text} {copy}",
                row=copy // _FILES * len(texts) + row,
            )
            for row, text in enumerate(texts[start : start + _BLOCK], start)
        ]


def _from_digests(options: argparse.Namespace, size: int) -> dict[str, float]:
    with TemporaryDirectory(dir=options.corpus) as folder:
        files = []
        for number in range(_FILES):
            path = Path(folder, f"{number}.parquet")
            save_scan(path, Path(folder), None, _made_up(number, size))
            files.append(ScannedFile(source="s", file=f"{number}", path=path))
        deciding, _ = _decide(files, Path(folder), options.memory << 20)
    return {"documents": size, "survey": 0, "decide": deciding, "texts": 0}


def _made_up(number: int, size: int) -> Iterator[pa.RecordBatch]:
    """Yield rows of a survey, of which about a tenth have been before."""
    empty = scan_documents([], None, None)
    draw = np.random.default_rng(number)
    for start in range(0, size // _FILES, 1 << 16):
        rows = np.arange(start, min(start + (1 << 16), size // _FILES), dtype=np.uint32)
        # The birthdays of `size` in five times as many days.
        keys = draw.integers(0, 5 * size, len(rows), np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        columns = [rows, keys, ~keys, np.zeros(len(rows), np.uint32)]
        yield pa.record_batch([pa.array(column) for column in columns], schema=empty.schema)


def _decide(files: list[ScannedFile], folder: Path, memory_bytes: int) -> tuple[float, int]:
    started = time.process_time()
    found = find_drops(files, DedupSpec(), folder / "scratch", memory_bytes=memory_bytes)
    num_drops = sum(len(drops.rows) for drops in found)
    return time.process_time() - started, num_drops


_CHILDREN = {"texts": _from_texts, "digests": _from_digests}


def _texts(options: argparse.Namespace) -> list[str]:
    kinds = corpus.KINDS
    return [
        t
        for kind in kinds
        for path in corpus.files(options.corpus, kind)
        for t in corpus.read(path)
    ]


def _near(texts: list[str]) -> list[float]:
    from datatrove.pipeline.dedup import MinhashDedupSignature

    spec = MinHashSpec()
    documents = [Document(id="", text=text, row=row) for row, text in enumerate(texts)]
    with TemporaryDirectory() as folder:
        step = MinhashDedupSignature(folder)

        def theirs() -> None:
            for text in texts:
                shingles = step.get_shingles(text)
                if shingles.size:
                    step.get_signature(shingles)

        return [_timed(lambda: scan_documents(documents, spec, None)), *_both(step, theirs)]


def _contamination(texts: list[str]) -> list[float]:
    from datatrove.data import Document as Theirs
    from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter

    # Evaluations that no text here holds, so that both look up every n-gram.
    words = "".join(texts[:_EVALUATIONS]).split()[: 60 * _EVALUATIONS]
    order = np.random.default_rng(0).permutation(len(words))
    shuffled = [words[i] for i in order]
    evaluations = [" ".join(shuffled[i : i + 60]) for i in range(0, len(shuffled), 60)]
    contamination = Contamination(read_evaluation(evaluations, _NGRAM_WORDS).ngrams, _NGRAM_WORDS)
    documents = [Document(id="", text=text, row=row) for row, text in enumerate(texts)]
    with TemporaryDirectory() as folder:
        step = NGramsDecontFilter(folder, NGramsDecontConfig(n_grams=_NGRAM_WORDS))
        step._index_hashes = dict.fromkeys(range(len(evaluations) * 48), "task")

        def theirs() -> None:
            for text in texts:
                step.filter(Theirs(text=text, id=""))

        return [
            _timed(lambda: scan_documents(documents, None, contamination)),
            *_both(step, theirs),
        ]


def _both(step: Any, run: Callable[[], None]) -> list[float]:
    """Time datatrove's block with its own words, then with words split at white space."""
    # 0.10.1 gives text to xxHash, which xxhash 4 refuses.
    for hasher in {"_hash_func", "hash_func"} & set(vars(step)):
        setattr(step, hasher, lambda text: xxhash.xxh64_intdigest(text.encode()))

    class Split:
        word_tokenize = staticmethod(str.split)

    name = "word_tokenizer" if hasattr(step, "word_tokenizer") else "tokenizer"
    own = _timed(run)
    setattr(step, name, Split)
    return [own, _timed(run)]


def _timed(run: Callable[[], object]) -> float:
    """Return the best of two runs, so that what is compiled or loaded first does not count."""
    seconds = []
    for _ in range(2):
        started = time.process_time()
        run()
        seconds.append(time.process_time() - started)
    return min(seconds)


if __name__ == "__main__":
    main()
