"""Compare what a plan says of time and memory with what a build takes:

    python -m tests.benchmarks.plan_against_build FOLDER [--megabytes 200] [--shapes whole filtered]

Enters: the corpus of `corpus`. Leaves: for each shape of a mixture the processor seconds and the
memory that `plan` says, those that `build` with one worker takes, and their ratios: 1 is right. The
disk is compared by a test. Method: the two commands one after the other; processor time, so that
neighbours disturb neither much, less that of a build of a single document, which is start-up; the
peaks (`VmHWM`) of the command and of its worker.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks import corpus

_CHUNK = "chunk: {size: 1024}\n"
_CUT = "size: 1024, min_size: 512, skip_below: 128, seed: 42"
_FILES = "from: {path: [%s]}"
_QUALITY = "[gopher_quality, gopher_repetition, c4_quality, fineweb_quality, pii]"
SHAPES = {
    "whole": f"{_CHUNK}sources: {{all: {{FILES}}}}\n",
    "sampled": f"{_CHUNK}sources: {{all: {{FILES, tokens: BUDGET}}}}\n",
    "retokenized": f"chunk: {{algorithm: ettin-retokenize-v1, {_CUT}}}\n"
    "sources: {all: {FILES}}\n",
    "dedup": f"{_CHUNK}dedup: {{minhash: {{}}}}\nsources: {{all: {{FILES}}}}\n",
    "filtered": f"{_CHUNK}on_error: skip\nmax_bad: 1\n"
    f"sources: {{all: {{FILES, filters: {_QUALITY}}}}}\n",
}
"""Mixtures by shape; `FILES` stands for the origin, `BUDGET` for a third of the tokens."""
_ORDER = "order: {seed: 1, global_batch_size: %d, max_seq_len: 1024}\n"
_SENTENCE = "The tide went out before the lantern was lit, and the boats lay on the sand. "
_COMMAND = (sys.executable, "-m", "pipeline")


def main() -> None:
    """Parse, plan and build, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    corpus.add_arguments(parser)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=[*SHAPES])
    options = parser.parse_args()
    corpus.ensure(options.corpus, options.megabytes)
    paths = [path for kind in corpus.KINDS for path in corpus.files(options.corpus, kind)]
    work = options.corpus / "planned"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    print("| shape | CPU s: plan, build | ratio | MiB, worker | ratio | MiB, command | ratio |")
    print("|---|---|---|---|---|---|---|")
    try:
        for shape in options.shapes:
            # Filters are slow: the first file of prose, which is some megabytes.
            _compare(work, shape, paths[:1] if shape == "filtered" else paths)
    finally:
        shutil.rmtree(work)


def _compare(work: Path, shape: str, paths: Sequence[Path]) -> None:
    budget = sum(path.stat().st_size for path in paths) // 12
    mixture = _write(work, shape, shape, paths, budget)
    said = subprocess.run(
        [*_COMMAND, "plan", str(mixture), "--workers", "1", "--json"],
        check=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    outlook = json.loads(said.stdout)["outlook"]
    single = work / "single.jsonl"
    single.write_text(json.dumps({"id": "a", "text": _SENTENCE * 40}) + "\n")
    start, _, _ = _build(_write(work, "single", shape, [single], 10))
    took, command, worker = _build(mixture)
    pairs = [
        (3600 * outlook["time"]["core_hours"], took - start),
        (outlook["memory"]["worker_bytes"] >> 20, worker >> 10),
        (outlook["memory"]["driver_bytes"] >> 20, command >> 10),
    ]
    cells = " | ".join(f"{say:.1f}, {do:.1f} | {say / do:.2f}" for say, do in pairs)
    print(f"| {shape} | {cells} |", flush=True)


def _write(work: Path, name: str, shape: str, paths: Sequence[Path], budget: int) -> Path:
    listed = ", ".join(json.dumps(str(path.absolute())) for path in paths)
    text = SHAPES[shape].replace("FILES", _FILES % listed).replace("BUDGET", str(budget))
    mixture = work / f"{name}.yaml"
    batch = 1 if name == "single" else 64
    mixture.write_text(f"name: {name}\n{text}{_ORDER % batch}")
    return mixture


def _build(mixture: Path) -> tuple[float, int, int]:
    """Build; return the processor seconds, and the peaks of the command and its worker in KiB."""
    out = mixture.with_name("out")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    build = subprocess.Popen(
        [*_COMMAND, "build", str(mixture), "--out", str(out), "--workers", "1"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    peaks: dict[int, int] = {}
    while build.poll() is None:
        for process, peak in _peaks(build.pid).items():
            peaks[process] = max(peaks.get(process, 0), peak)
        time.sleep(0.1)
    assert build.returncode == 0, mixture.read_text()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    shutil.rmtree(out)
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took, peaks.pop(build.pid), max(peaks.values())


def _peaks(group: int) -> dict[int, int]:
    """Return the peak in KiB of each process of a group."""
    peaks = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                state = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(state[2]) == group:
                    lines = (entry / "status").read_text().splitlines()
                    held = [line.split()[1] for line in lines if line.startswith("VmHWM")]
                    peaks[int(entry.name)] = int(held[0]) if held else 0
            except OSError:
                continue
    return peaks


if __name__ == "__main__":
    main()
