"""Compare a changed mixture built from nothing with ways to change what is there:

    python -m tests.benchmarks.change_speed FOLDER

Enters: the corpus of `corpus`. Leaves: for another seed, another budget and one more source, the
seconds of wall clock and of all cores of a build of the changed mixture by the command line with
two workers: from nothing, into another folder with a cache of chunks that the first build has
filled, and with `--update` in a copy of the first output, without that cache and with it. Method:
all take turns (A B C D A B C D); outputs are equal to the byte, or it fails. The first build is
timed without a cache and with one that it fills. Documents pass a filter of datatrove's.
"""

import argparse
import hashlib
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks import corpus

_MIXTURE = """\
name: changed
tokenizer: {{name: modernbert, add_prefix_space: true}}
chunk: {{algorithm: ettin-reencode-v1, size: 1024, min_size: 512, skip_below: 128, seed: 42}}
sources:
  code: {{from: {{path: "{folder}/code/*"}}, filters: [FILTERS]}}
  prose: {{from: {{path: "{folder}/prose/{some}"}}, tokens: {tokens}, filters: [FILTERS]}}
{more}order:
  {{algorithm: ettin-pcg64dxsm-v1, seed: {seed}, global_batch_size: 256, max_seq_len: 1024,
   view: encoder}}
shards: {{dtype: uint16, size_limit: 64MiB}}
"""
_MORE = '  other: {{from: {{path: "{folder}/prose/{rest}"}}, filters: [FILTERS]}}\n'
_FILTERS = "{gopher_repetition: {}}"
# Files are numbered; the even ones are packed.
_SOME, _REST = "*[02468].*", "*[13579].*"
_CHANGES: Mapping[str, Mapping[str, object]] = {
    "seed": {"seed": 22},
    "budget": {"part": 0.25},
    "source": {"has_more": True},
}
_WAYS = {
    "from nothing": ((), False),
    "elsewhere, cache": (("--cache",), False),
    "update": (("--update",), True),
    "update, cache": (("--update", "--cache"), True),
}
"""By name: the options of a build, and whether it has a copy of the first output."""


def main() -> None:
    """Parse, time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    corpus.add_arguments(parser)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    with corpus.workspace(options) as work:
        _compare(options.corpus.absolute(), work, options.repetitions)


def _compare(folder: Path, work: Path, repetitions: int) -> None:
    size = sum(path.stat().st_size for path in (folder / "prose").glob(_SOME))
    first = _write(folder, work / "first.yaml", size)
    _build(first, work / "warm-up")
    shutil.rmtree(work / "warm-up")
    print("| build | wall, s | CPU s | part of a build from nothing: wall | CPU | walls |")
    print("|---|---|---|---|---|---|")
    walls: defaultdict[str, list[float]] = defaultdict(list)
    cpus: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(repetitions):
        for name, cache in (("first", ()), ("first, fills a cache", ("--cache",))):
            for old in ("out", "cache"):
                shutil.rmtree(work / old, ignore_errors=True)
            _note(name, walls, cpus, _build(first, work / "out", *cache))
    _print(walls, cpus, "first")
    for change, settings in _CHANGES.items():
        walls.clear()
        cpus.clear()
        mixture = _write(folder, work / f"{change}.yaml", size, **settings)
        for _ in range(repetitions):
            made = {way: _change(mixture, work, way) for way in _WAYS}
            assert len({digest for *_, digest in made.values()}) == 1, "outputs differ"
            for way, (wall, cpu, _) in made.items():
                _note(f"{change}: {way}", walls, cpus, (wall, cpu))
        _print(walls, cpus, f"{change}: from nothing")


def _change(mixture: Path, work: Path, way: str) -> tuple[float, float, str]:
    """Build a changed mixture in a way; return seconds of wall clock and of cores, and a digest."""
    options, has_first = _WAYS[way]
    changed, cache = work / "changed", work / "cache-copy"
    shutil.copytree(work / "cache", cache)
    if has_first:
        shutil.copytree(work / "out", changed)
    os.sync()
    wall, cpu = _build(mixture, changed, *options, cache=cache)
    digest = hashlib.sha256((changed / "manifest.json").read_bytes()).hexdigest()
    shutil.rmtree(changed)
    shutil.rmtree(cache)
    return wall, cpu, digest


def _write(
    folder: Path,
    path: Path,
    size: int,
    *,
    seed: int = 21,
    part: float = 0.2,
    has_more: bool = False,
) -> Path:
    """Write a mixture; part: tokens for each byte of packed prose, of which filters leave more."""
    more = _MORE.format(folder=folder, rest=_REST) if has_more else ""
    tokens = int(size * part)
    text = _MIXTURE.format(folder=folder, some=_SOME, tokens=tokens, more=more, seed=seed)
    path.write_text(text.replace("FILTERS", _FILTERS))
    return path


def _build(
    mixture: Path, out: Path, *options: str, cache: Path | None = None
) -> tuple[float, float]:
    """Build by the command line; return wall-clock seconds and seconds of all cores."""
    command = [sys.executable, "-m", "pipeline", "build", str(mixture), "--out", str(out)]
    for option in options:
        place = out.parent / "cache" if cache is None else cache
        command += [option, str(place)] if option == "--cache" else [option]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run([*command, "--workers", "2"], capture_output=True, text=True, check=False)
    wall = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _note(
    name: str,
    walls: defaultdict[str, list[float]],
    cpus: defaultdict[str, list[float]],
    seconds: tuple[float, float],
) -> None:
    walls[name].append(seconds[0])
    cpus[name].append(seconds[1])


def _print(
    walls: Mapping[str, list[float]], cpus: Mapping[str, list[float]], reference: str
) -> None:
    for name, taken in walls.items():
        parts = [one / other for one, other in zip(taken, walls[reference], strict=True)]
        print(
            f"| {name} | {statistics.median(taken):.1f} | {statistics.median(cpus[name]):.1f} "
            f"| {statistics.median(parts):.2f} "
            f"| **{statistics.median(cpus[name]) / statistics.median(cpus[reference]):.2f}** "
            f"| {' '.join(f'{part:.2f}' for part in parts)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
