"""Compare the feed with what else reads such rows, a process each:

    python -m tests.benchmarks.feed_speed CORPUS --work FOLDER --oracle-python PYTHON

Enters: the corpus of `corpus`; the interpreter of `tests/oracle/setup.sh`, without which the public
MDS package is left out. Leaves: million ids a second of a process, by the clock and of processor
time, which differ where a process reads ahead; and ratios by the clock, also to our own rows in
MDS. Method: a build of the corpus as parquet, as MDS and without rows in order (`index`), kept in
the work folder; all sides read these rows from the page
cache, each for some seconds after a warm-up, in a process of its own; the sides take turns (A B C
A B C), and a ratio is of one turn. Ids are those of rows, so that padding counts for nobody. The
others are:

- the public package: its dataset, row after row, ids alone;
- the ModernBERT reader: a row at a time by number, as its dataset has it, padded and masked by the
  collator of `transformers` that it takes. Rows come from our own pool here, which is faster;
- `datasets`, streaming the same parquet: ids alone, row after row, and as numpy in batches.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks import corpus

_MICRO_BATCH_ROWS = 72
_MASK_PROB = 0.3
_MAX_SEQ_LEN = 1024

# Rows as, form, objective, whether rows are compared with the ledger.
_FEEDS = [
    ("mds", "flat", "none", False),
    ("mds", "flat", "none", True),
    ("mds", "flat", "clm", True),
    ("mds", "flat", "mlm", False),
    ("mds", "flat", "mlm", True),
    ("mds", "padded", "mlm", True),
    ("index", "flat", "none", False),
    ("index", "flat", "none", True),
    ("index", "flat", "clm", True),
    ("index", "flat", "mlm", True),
    ("index", "padded", "mlm", True),
    ("parquet", "flat", "none", False),
    ("parquet", "flat", "none", True),
    ("parquet", "flat", "clm", True),
    ("parquet", "flat", "mlm", True),
    ("parquet", "padded", "mlm", True),
]
_OTHERS = ["public MDS", "ModernBERT reader", "datasets, rows", "datasets, batches"]

_MIXTURE = """\
name: feed
description: All prose and code of a corpus.
phase: checkpoint
tokenizer: {{name: modernbert, add_prefix_space: true}}
chunk: {{algorithm: whole-v1, size: {size}}}
sources:
  code: {{category: code, from: {{path: {folder}/code/*, id: null}}, tokens: all}}
  prose: {{category: prose, from: {{path: {folder}/prose/*, id: null}}, tokens: all}}
order:
  algorithm: ettin-pcg64dxsm-v1
  seed: 21
  epoch: 0
  global_batch_size: {step_rows}
  max_seq_len: {size}
  view: stored
shards: {{dtype: uint16, size_limit: 64MiB}}
"""

# The public package has an interpreter of its own.
_PUBLIC = """
import json, os, sys, time, warnings
with warnings.catch_warnings(action="ignore"):
    from streaming import StreamingDataset
rows = StreamingDataset(local=sys.argv[1], shuffle=False, batch_size=int(sys.argv[3]))
num_ids, started, at_start = 0, None, None
while True:
    for row in rows:
        if started is None:
            started, at_start = time.perf_counter(), time.process_time()
            continue
        num_ids += len(row["input_ids"])
        seconds = time.perf_counter() - started
        if seconds > float(sys.argv[2]):
            worked = time.process_time() - at_start
            print(json.dumps([num_ids / seconds, num_ids / worked]), flush=True)
            os._exit(0)  # Its threads would go on.
"""


def main() -> None:
    """Parse, build, time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    corpus.add_arguments(parser)
    parser.add_argument("--work", type=Path, required=True, help="kept, and used again")
    parser.add_argument("--oracle-python", type=Path)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="that a side is timed for")
    parser.add_argument("--step-rows", type=int, default=4608)
    options = parser.parse_args()
    corpus.ensure(options.corpus, options.megabytes)
    for form in ("mds", "index", "parquet"):
        _ensure_built(options.corpus.absolute(), options.work / form, form, options.step_rows)
    _print_speeds(options)


def _print_speeds(options: argparse.Namespace) -> None:
    others = _OTHERS if options.oracle_python else _OTHERS[1:]
    turns: list[dict[Any, list[float]]] = []
    for _ in range(options.repetitions):
        turn = {name: _time_other(name, options) for name in others}
        for feed in _FEEDS:
            told = [*feed, str(options.work / feed[0]), options.step_rows, options.seconds]
            turn[feed] = _run("feed", told)
        turns.append(turn)
    names = ["mds", *others]
    print(f"| rows as | form | labels | ledger | M ids/s | a core | × {' | × '.join(names)} |")
    print("|---|---|---|---|---|---|" + "---|" * len(names))
    for name in others:
        print(f"| {name} | | | | {_speeds(turns, name, 1)} |{' |' * len(names)}")
    for feed in _FEEDS:
        rows_as, form, objective, checks = feed
        ratios = [
            statistics.median(turn[feed][0] / turn[name][0] for turn in turns) for name in others
        ]
        of_mds = statistics.median(turn[feed][0] / turn["mds", *feed[1:]][0] for turn in turns)
        print(
            f"| {rows_as} | {form} | {objective} | {'checked' if checks else 'none'} | "
            f"{_speeds(turns, feed, 0)} | {of_mds:.2f} | "
            f"{' | '.join(f'{one:.0f}' for one in ratios)} |"
        )


def _speeds(turns: list[dict[Any, list[float]]], side: Any, digits: int) -> str:
    """Return the medians by the clock and of processor time, as two cells."""
    medians = (statistics.median(turn[side][which] / 1e6 for turn in turns) for which in (0, 1))
    return " | ".join(f"{one:.{digits}f}" for one in medians)


def _ensure_built(folder: Path, out: Path, form: str, step_rows: int) -> None:
    """Build the corpus as parquet or as MDS, unless it is there."""
    if (out / "manifest.json").exists():
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    mixture = out.with_suffix(".yaml")
    mixture.write_text(_MIXTURE.format(folder=folder, size=_MAX_SEQ_LEN, step_rows=step_rows))
    settings = {"index": ["order.rows=index"]}.get(form, [f"order.format={form}"])
    command = ["build", str(mixture), "--out", str(out), "--set", *settings]
    _output([sys.executable, "-m", "pipeline", *command, "--workers", "2"])


def _time_other(name: str, options: argparse.Namespace) -> Any:
    """Return ids a second of another reader, by the clock and of processor time."""
    told = [str(options.work), options.seconds]
    if name != "public MDS":
        return _run(name, told)
    shards = options.work / "mds" / "order"
    command = [str(options.oracle_python), "-c", _PUBLIC, str(shards)]
    return _answer([*command, str(options.seconds), str(_MICRO_BATCH_ROWS)])


def _run(side: str, told: list[Any]) -> Any:
    """Run one side in a process of its own."""
    code = f"from {__spec__.name} import run_side; run_side()"
    return _answer([sys.executable, "-c", code, side, json.dumps(told)])


def _answer(command: list[str]) -> Any:
    return json.loads(_output(command).splitlines()[-1])


def _output(command: list[str]) -> str:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


# What follows runs in the process of a side.


def run_side() -> None:
    """Do what the arguments say and print the answer."""
    side, told = sys.argv[1], json.loads(sys.argv[2])
    sides: dict[str, Callable[..., Any]] = {
        "feed": _feed,
        "ModernBERT reader": _modernbert,
        "datasets, rows": _datasets_rows,
        "datasets, batches": _datasets_batches,
    }
    print(json.dumps(sides[side](*told)), flush=True)
    # Libraries of the others end slowly, or not at all.
    os._exit(0)


def _rate(
    make: Callable[[], Iterator[int]], seconds: float, num_warm: int = 10
) -> tuple[float, float]:
    """Return ids a second, by the clock and of processor time, of an iterator of numbers of ids.

    It is made again when it is over.
    """
    for _ in range(2):  # Whatever is done once is done.
        for number, _ in enumerate(make()):
            if number == num_warm:
                break
    num_ids, started, at_start = 0, time.perf_counter(), time.process_time()
    while True:
        for count in make():
            num_ids += count
            taken = time.perf_counter() - started
            if taken > seconds:
                return num_ids / taken, num_ids / (time.process_time() - at_start)


def _feed(
    _: str, form: Any, objective: str, checks: bool, where: str, step_rows: int, seconds: float
) -> tuple[float, float]:
    from pipeline import dataset
    from pipeline.feed.batch import Clm, Mlm
    from pipeline.feed.factory import make_feed

    objectives = {"none": None, "clm": Clm(), "mlm": Mlm(mask_prob=_MASK_PROB, seed=1)}
    feed = make_feed(
        dataset.open(where, checks=checks),
        objective=objectives[objective],
        micro_batch_rows=_MICRO_BATCH_ROWS,
        global_batch_rows=step_rows,
        max_seq_len=_MAX_SEQ_LEN,
        form=form,
    )

    def batches() -> Iterator[int]:
        feed.seek_row(0)
        return (batch.num_tokens for batch in feed)

    return _rate(batches, seconds, num_warm=60)


def _modernbert(work: str, seconds: float) -> tuple[float, float]:
    import numpy as np
    import torch
    import transformers
    from tokenizers import Tokenizer
    from torch.utils.data import DataLoader, Dataset

    from pipeline.dataset.mds.pool import Pool
    from pipeline.stages.tokenizer import EMBEDDED, read_json

    torch.set_num_threads(1)
    pool = Pool.open(Path(work) / "mds" / "order")
    lengths = pool.lengths()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(read_json(EMBEDDED).decode()),
        cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", mask_token="[MASK]",
    )  # fmt: skip

    class Rows(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(lengths)

        def __getitem__(self, index: int) -> dict[str, Any]:
            ids = pool.gather(np.array([index]), lengths[index : index + 1])[:_MAX_SEQ_LEN]
            return {"input_ids": ids.astype(np.int64), "attention_mask": np.ones_like(ids)}

    loader = DataLoader(
        Rows(),
        batch_size=_MICRO_BATCH_ROWS,
        collate_fn=transformers.DataCollatorForLanguageModeling(
            tokenizer, mlm_probability=_MASK_PROB
        ),
    )
    return _rate(
        lambda: (int(batch["attention_mask"].sum()) for batch in loader), seconds, num_warm=3
    )


def _datasets(work: str) -> Any:
    import datasets

    datasets.disable_progress_bars()
    files = sorted(str(path) for path in (Path(work) / "parquet" / "order").glob("*/*.parquet"))
    cache = str(Path(work) / "cache")
    return datasets.load_dataset(
        "parquet", data_files=files, split="train", streaming=True, cache_dir=cache
    )


def _datasets_rows(work: str, seconds: float) -> tuple[float, float]:
    rows = _datasets(work)
    return _rate(lambda: (len(row["input_ids"]) for row in rows), seconds)


def _datasets_batches(work: str, seconds: float) -> tuple[float, float]:
    rows = _datasets(work).with_format("numpy")
    return _rate(
        lambda: (sum(map(len, one["input_ids"])) for one in rows.iter(_MICRO_BATCH_ROWS)), seconds
    )


if __name__ == "__main__":
    main()
