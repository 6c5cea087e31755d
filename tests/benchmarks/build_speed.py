"""Compare whole builds with `tokenizers`' `encode_batch` alone on the same text and cores:

    python -m tests.benchmarks.build_speed FOLDER

Enters: the corpus of `corpus`. Leaves: for each chunk algorithm, seconds of wall clock and of all
cores of a build (raw files to ordered parquet and manifest, start-up included, by the command
line with two workers), and how many times as long `encode_batch` takes. Method: the library, with
all batches of documents already in memory and both cores, gets an even sample of the documents,
scaled to the whole, since it needs minutes; before and after every build (A B A).
With `--shares`, one process makes the same build and says which stage takes what.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks import corpus

ALGORITHMS = ("whole-v1", "ettin-slice-v1", "ettin-reencode-v1")
_NUM_WORKERS = 2
_CUT = "  min_size: 512\n  skip_below: 128\n  add_eos: false\n  seed: 42\n"
_MIXTURE = """\
name: benchmark
description: All prose and code of a corpus.
phase: checkpoint
tokenizer: {{name: modernbert, add_prefix_space: true}}
chunk:
  algorithm: {algorithm}
  size: {size}
{cut}sources:
  code: {{category: code, from: {{path: {folder}/code/*}}, tokens: all}}
  prose: {{category: prose, from: {{path: {folder}/prose/*}}, tokens: all}}
order:
  algorithm: ettin-pcg64dxsm-v1
  seed: 21
  epoch: 0
  global_batch_size: 256
  max_seq_len: {size}
  view: encoder
shards: {{dtype: uint16, size_limit: 64MiB}}
"""


def main() -> None:
    """Parse, time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    corpus.add_arguments(parser)
    parser.add_argument("--library-megabytes", type=float, default=10, help="timed per turn")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--shares", action="store_true", help="time the stages instead")
    options = parser.parse_args()
    with corpus.workspace(options) as work:
        if options.shares:
            _print_shares(options.corpus, work, options.size)
        else:
            _compare(options.corpus, work, options)


def _compare(folder: Path, work: Path, options: argparse.Namespace) -> None:
    texts = [
        text
        for kind in corpus.KINDS
        for file in corpus.files(folder, kind)
        for text in corpus.read(file)
    ]
    total = corpus.megabytes(texts)
    every = max(1, round(total / options.library_megabytes))
    sample = texts[::every]
    scale = total / corpus.megabytes(sample)
    print(f"{len(texts):,} documents, {total:.1f} MB; the library gets 1 in {every} of them\n")
    print("| chunks | build, s | CPU s | MB/s | library, s (scaled) | ratio (median) | ratios |")
    print("|---|---|---|---|---|---|---|")
    with _library() as encode:
        encode(sample[: len(sample) // 4])
        for algorithm in ALGORITHMS:
            mixture = _write_mixture(folder, work, algorithm, options.size)
            _build(mixture, work)  # Compiles what was not yet, and warms the page cache up.
            walls, cpus, references, ratios = [], [], [], []
            before = encode(sample)
            for _ in range(options.repetitions):
                wall, cpu = _build(mixture, work)
                after = encode(sample)
                reference = scale * (before + after) / 2
                before = after
                walls.append(wall)
                cpus.append(cpu)
                references.append(reference)
                ratios.append(reference / wall)
            wall = statistics.median(walls)
            print(
                f"| {algorithm} | {wall:.1f} | {statistics.median(cpus):.1f} | {total / wall:.0f} "
                f"| {statistics.median(references):.0f} | **{statistics.median(ratios):.1f}** "
                f"| {' '.join(f'{ratio:.1f}' for ratio in ratios)} |",
                flush=True,
            )


def _write_mixture(folder: Path, work: Path, algorithm: str, size: int) -> Path:
    path = work / f"{algorithm}.yaml"
    cut = "" if algorithm == "whole-v1" else _CUT
    path.write_text(
        _MIXTURE.format(algorithm=algorithm, size=size, cut=cut, folder=folder.absolute())
    )
    return path


def _build(mixture: Path, work: Path) -> tuple[float, float]:
    """Build from nothing; return wall-clock seconds and seconds of all processes together."""
    out = work / "out"
    shutil.rmtree(out, ignore_errors=True)
    os.sync()
    command = [sys.executable, "-m", "pipeline", "build", str(mixture), "--out", str(out)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(
        [*command, "--workers", str(_NUM_WORKERS)], check=True, capture_output=True, text=True
    )
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@contextmanager
def _library() -> Iterator[Callable[[list[str]], float]]:
    """Start `encode_batch` in a process with both cores; yield what returns its seconds."""
    environment = {
        **os.environ,
        "TOKENIZERS_PARALLELISM": "true",
        "RAYON_NUM_THREADS": str(_NUM_WORKERS),
    }
    with subprocess.Popen(
        [sys.executable, "-c", f"from {__spec__.name} import serve_library; serve_library()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        to, back = process.stdin, process.stdout

        def encode(texts: list[str]) -> float:
            print(json.dumps(texts), file=to, flush=True)
            return float(back.readline())

        try:
            yield encode
        finally:
            to.close()


def serve_library() -> None:
    """Answer each line, a JSON list of texts, with the seconds that the library takes for them."""
    from pipeline.stages.tokenizer import read_json
    from pipeline.stages.tokenizer.library import make_reference

    library = make_reference("modernbert", read_json("modernbert"), add_prefix_space=True)
    for line in sys.stdin:
        texts = json.loads(line)
        started = time.perf_counter()
        for start in range(0, len(texts), 1000):
            library.encode_batch(texts[start : start + 1000])
        print(time.perf_counter() - started, flush=True)


def _print_shares(folder: Path, work: Path, size: int) -> None:
    seconds: dict[str, Counter[str]] = {}
    for algorithm in ALGORITHMS:
        mixture = _write_mixture(folder, work, algorithm, size)
        for _ in range(2):  # The first compiles what was not yet.
            command = [
                sys.executable,
                "-c",
                f"from {__spec__.name} import build_timed; build_timed()",
            ]
            done = subprocess.run(
                [*command, str(mixture), str(work / "out")],
                check=True,
                capture_output=True,
                text=True,
            )
            shutil.rmtree(work / "out")
        seconds[algorithm] = Counter(json.loads(done.stdout))
    print(f"| stage | {' | '.join(f'{algorithm}, CPU s' for algorithm in ALGORITHMS)} |")
    print(f"|---|{'---|' * len(ALGORITHMS)}")
    for stage in dict.fromkeys(stage for counts in seconds.values() for stage in counts):
        row = " | ".join(f"{counts[stage]:.2f}" for counts in seconds.values())
        print(f"| {stage} | {row} |")


def build_timed() -> None:
    """Build in this process, without a cluster; print CPU seconds by stage as JSON."""
    started = time.process_time()
    from pipeline.config.load import load_mixture
    from pipeline.core import hashed_file
    from pipeline.dataset.mds import pool
    from pipeline.dataset.mds.writer import MdsWriter
    from pipeline.dataset.parquet import writer
    from pipeline.dataset.provenance import writer as provenance
    from pipeline.runner import run as building
    from pipeline.runner import sampled_shards
    from pipeline.runner.cluster import InProcess
    from pipeline.runner.shuffle import index_rows
    from pipeline.runner.shuffle import write as writing
    from pipeline.runner.tasks import make_partition
    from pipeline.sources.readers import file_reader

    seconds: Counter[str] = Counter()

    def timed(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            before, outer = time.process_time(), sum(seconds.values())
            try:
                return function(*arguments, **named)
            finally:
                # What stages inside this one took is theirs.
                seconds[stage] += time.process_time() - before - (sum(seconds.values()) - outer)

        return run

    def timed_steps(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            step = timed(stage, iter(function(*arguments, **named)).__next__)
            while True:
                try:
                    value = step()
                except StopIteration:
                    return
                yield value

        return run

    @contextmanager
    def here(*_: object, **__: object) -> Iterator[InProcess]:
        yield InProcess(lambda *_: None)

    def patch(owner: Any, name: str, stage: str, how: Any = timed) -> None:
        setattr(owner, name, how(stage, getattr(owner, name)))

    patch(file_reader.FileReader, "blocks", "read, parse, sha256 of input", timed_steps)
    patch(make_partition, "tokenize", "tokenize, cross-check")
    patch(make_partition, "without_content", "tokenize, cross-check")
    make_chunker = make_partition.make_chunker

    def make_timed_chunker(*arguments: Any) -> Any:
        chunker = timed("chunk", make_chunker)(*arguments)
        patch(chunker, "chunk", "chunk")
        return chunker

    make_partition.make_chunker = make_timed_chunker
    patch(MdsWriter, "write", "write MDS")
    patch(MdsWriter, "finish", "write MDS")
    patch(hashed_file.HashedFile, "write", "write files, sha256")
    patch(make_partition, "save_table", "table of rows")
    patch(pool.Pool, "take_named", "order: gather, names of documents")
    patch(writing, "apply_view", "order: view")
    patch(writing._Steps, "add", "order: sha256 of steps")
    patch(writing, "row_digests", "order: ledger")
    patch(writer.RowWriter, "write", "order: parquet")
    patch(provenance.ProvenanceWriter, "write", "order: provenance")
    patch(index_rows, "divide_rows", "order: index of documents")
    patch(index_rows, "write_part", "order: index of documents")
    sampled_shards.open_cluster = here  # type: ignore[assignment]
    seconds["start-up: imports"] = time.process_time() - started
    patch(sampled_shards, "cached_tokenizer", "start-up: tokenizer")
    building.build(
        load_mixture(Path(sys.argv[1]), []), Path(sys.argv[2]),
        workers=1, scheduler=None, report=lambda *_: None,
    )  # fmt: skip
    seconds["rest"] = time.process_time() - started - sum(seconds.values())
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
