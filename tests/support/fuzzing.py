"""A folder of everything that commands read, and commands on a copy of it with one file mutated.

Each trial is a fork of a process that has everything loaded, so that a trial costs what its
commands cost, its memory is its own, and one that hangs can be killed. Tasks run in the trial, not
on a cluster.
"""

import bz2
import contextlib
import csv
import gzip
import io
import json
import lzma
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from support import builds, mutations
from support.miniature import mds
from support.mutations import Mutation
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from pipeline.runner.cluster import InProcess, Tasks

SECONDS = 60
"""Longest that one trial may take on a busy machine; one takes a second at most."""
MOST_BYTES = 1 << 30
"""Of memory, with what a process holds before it does anything."""
EXITS = (0, 1, 2)

_SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]")
_MIXTURE = """\
name: fuzzed
extends: shared.yaml
chunk: {algorithm: ettin-reencode-v1, size: 64, min_size: 32, skip_below: 8, seed: 42}
keep_dropped: 1
dedup: {exact: true, minhash: {}}
validation: {fraction: 1/10}
order:
  {algorithm: ettin-pcg64dxsm-v1, seed: 21, global_batch_size: 4, max_seq_len: 64, view: encoder,
   window_tokens: 4k}
shards: {size_limit: 8KiB}
on_error: skip
"""
_SHARED = """\
tokenizer: {name: tok.json, add_prefix_space: true}
sources:
  lines:
    from: {path: in/lines.jsonl}
    tokens: 600
    filters: [length: {min_chars: 20}, python: {function: own.py:keep, arguments: {least: 5}}]
  gz: {from: {path: in/gz.json.gz}}
  zst: {from: {path: in/zst.jsonl.zst}, epochs: 3/2}
  table: {from: {path: in/table.parquet, id: null}}
  text: {from: {path: in/text.txt}}
  rows: {from: {path: [in/rows.csv, in/rows2.tsv], id: null}}
  arrow: {from: {path: in/rows.arrow}}
  slow: {from: {path: [in/slow.jsonl.xz, in/slow2.jsonl.bz2], id: null}}
  array: {from: {path: in/array.json, text: inner.text, id: inner.id}}
  shard:
    from: {path: in/shard.00000.mds, text: input_ids, id: null, decode: {tokenizer: tok.json}}
"""
_OWN = """\
def keep(text, metadata, least):
    return len(text) >= least or "short"
"""
_REPLAY = """\
name: replayed
pool: {path: out/train}
order: {algorithm: ettin-pcg64dxsm-v1, seed: 3, global_batch_size: 4, max_seq_len: 64}
shards: {dtype: uint16}
"""
_RECIPE = """\
extends: recipe.shared.yaml
name: fuzzed
tokens: 2k
save_every_tokens: 1k
model: {num_layers: 1, hidden_size: 16, intermediate_size: 16, num_heads: 1}
global_batch_rows: 4
micro_batch_rows: 4
max_seq_len: 64
"""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A kind of file, and what is run when one was mutated."""

    files: str
    """Glob of the files, in the folder."""
    mutate: Mutation
    commands: Sequence[str]
    """One of them is run, `build` again where it is the last word of another."""
    share: int = 1
    """How often, relative to the others."""


_BUILD = "build m.yaml --allow-code --out new --workers 1"
_ORDER = "order out/train --workers 1 --set order.global_batch_size=4 --set order.max_seq_len=64"
_STOPS = f"{_BUILD} --set on_error=stop"
_PLAN = "plan m.yaml --allow-code"
_AGAIN = "build m.yaml --allow-code --out out --workers 1"
_HALF = "build m.yaml --allow-code --out half --workers 1"
_READS = ("verify out", "feed out --steps 3", "trace out --step 2", "trace out --document lines-3",
          "digest out --out d.json", "diff out other", "verify out --against mds",
          "trace out --find harbour", f"{_ORDER} --out new", _AGAIN)  # fmt: skip
_ORDERS = (
    "feed mds --steps 3",
    "verify mds",
    "digest mds --out d.json",
    "diff mds out",
    "feed mds --objective mlm --bench --steps 3",
    "verify out --against mds/order",
)
_TRAIN = "train r.yaml --data data --out run --device cpu"
TARGETS: Mapping[str, Target] = {
    "mixture": Target(files="m.yaml", mutate=mutations.yaml_file, share=2,
                      commands=(_PLAN, _BUILD, "lock m.yaml",
                                "lock m.yaml --check --lock locked.json",
                                "pull m.yaml --lock locked.json", "diff m.yaml shared.yaml",
                                "build m.yaml --allow-code --out new --workers 1 --memory 1KiB")),
    "shared": Target(files="shared.yaml", mutate=mutations.yaml_file,
                     commands=(_PLAN, _BUILD, _AGAIN)),
    "own code": Target(files="own.py", mutate=mutations.damage,
                       commands=(_PLAN, _BUILD, _AGAIN)),
    "replay": Target(files="replay.yaml", mutate=mutations.yaml_file,
                     commands=("plan replay.yaml", "build replay.yaml --out new --workers 1")),
    "recipe": Target(files="r*.yaml", mutate=mutations.yaml_file,
                     commands=(_TRAIN, "train r.yaml --data data --out new --device cpu")),
    "lock": Target(files="locked.json", mutate=mutations.lock_json, share=3,
                   commands=tuple(f"{one} --lock locked.json" for one in (
                       _PLAN, _BUILD, "lock m.yaml --check", "pull m.yaml", _AGAIN))),
    "manifest": Target(files="out/manifest.json", mutate=mutations.sealed_json, share=3,
                       commands=(*_READS, "diff out/manifest.json mds/manifest.json",
                                 "verify mds --manifest out/manifest.json",
                                 "export run --out exported")),
    "order manifest": Target(files="digested.json", mutate=mutations.sealed_json, share=2,
                             commands=("verify out --against digested.json",
                                       "diff digested.json out",
                                       "verify out --manifest digested.json")),
    "index": Target(files="out/**/index.json", mutate=mutations.plain_json, share=3,
                    commands=(*_READS, "build replay.yaml --out new --workers 1",
                              "plan replay.yaml")),
    "order index": Target(files="mds/order/**/index.json", mutate=mutations.plain_json, share=2,
                          commands=_ORDERS),
    "shard": Target(files="out/**/*.mds", mutate=mutations.damage, share=3,
                    commands=(*_READS, "build replay.yaml --out new --workers 1")),
    "order shard": Target(files="mds/order/**/*.mds", mutate=mutations.damage, share=2,
                          commands=_ORDERS),
    "order parquet": Target(files="out/order/**/*.parquet", mutate=mutations.parquet_file, share=4,
                            commands=(*_READS, "feed out/order --steps 3",
                                      "digest out/order --out d.json",
                                      "verify mds --against out/order")),
    "provenance": Target(files="out/provenance/**/*", mutate=mutations.parquet_file, share=3,
                         commands=("trace out --step 2", "trace out --row 5",
                                   "trace out --window 1",
                                   "trace out --document lines-3", "trace out --find harbour",
                                   "verify out", "trace out --checkpoint run", _AGAIN)),
    "jsonl": Target(files="in/lines.jsonl", mutate=mutations.lines_file, share=3,
                    commands=(_BUILD, _AGAIN, _PLAN,
                              "lock m.yaml --check --lock locked.json", _STOPS)),
    "gz": Target(files="in/gz.json.gz", mutate=mutations.gzip_file, share=2,
                 commands=(_BUILD, _PLAN, _STOPS)),
    "zst": Target(files="in/zst.jsonl.zst", mutate=mutations.zstd_file, share=2,
                  commands=(_BUILD, _STOPS)),
    "table": Target(files="in/table.parquet", mutate=mutations.parquet_file, share=3,
                    commands=(_BUILD, _PLAN, "lock m.yaml", _STOPS)),
    "rows": Target(files="in/rows*", mutate=mutations.damage, share=2,
                   commands=(_BUILD, _PLAN, _STOPS)),
    "slow": Target(files="in/slow*", mutate=mutations.slow_file,
                   commands=(_BUILD, _STOPS)),
    "array": Target(files="in/array.json", mutate=mutations.plain_json,
                    commands=(_BUILD, _PLAN, _STOPS)),
    "text": Target(files="in/text.txt", mutate=mutations.text_file, commands=(_BUILD,)),
    "mds input": Target(files="in/*.mds", mutate=mutations.damage, share=2,
                        commands=(_BUILD, _STOPS)),
    "tokenizer": Target(files="tok.json", mutate=mutations.plain_json, share=4,
                        commands=(_BUILD, _AGAIN, _PLAN, "lock m.yaml",
                                  "feed out --steps 3 --tokenizer tok.json",
                                  "trace out --step 1 --text --tokenizer tok.json")),
    "record": Target(files="half/.ettin/records/*", mutate=mutations.record_log, share=3,
                     commands=(_HALF,)),
    "kept state": Target(files="half/.ettin/**/*", mutate=mutations.damage, commands=(_HALF,)),
    "kept rows": Target(files="half/[to]*/**/*", mutate=mutations.damage, commands=(_HALF,)),
    "checkpoint": Target(files="run/step*/checkpoint.json", mutate=mutations.sealed_json, share=2,
                         commands=(_TRAIN, "export run --out exported",
                                   "trace out --checkpoint run",
                                   "train r.yaml --data data --out new --from run --device cpu")),
    "optimizer": Target(files="run/step*/optimizer.pt", mutate=mutations.torch_file, share=2,
                        commands=(_TRAIN, "export run --out exported")),
    "weights": Target(files="run/step*/model.safetensors", mutate=mutations.damage,
                      commands=(_TRAIN, "export run --out exported",
                                "train r.yaml --data data --out new --from run --device cpu")),
    "trained order": Target(files="data/order/**/*.parquet", mutate=mutations.parquet_file,
                            commands=(_TRAIN, f"{_TRAIN} --on-damage tombstone")),
    "trained manifest": Target(files="data/manifest.json", mutate=mutations.sealed_json,
                               commands=(_TRAIN,)),
    "metrics": Target(files="run/metrics.jsonl", mutate=mutations.lines_file, commands=(_TRAIN,)),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a command did on a mutated file."""

    kind: str
    seed: int
    file: str
    command: str
    code: int
    """Its exit code, negative for a signal that ended it."""
    printed: str
    seconds: float
    num_bytes: int
    """Most memory that it had."""

    @property
    def fault(self) -> str | None:
        """What is wrong with it, or None."""
        if self.code == -signal.SIGKILL:
            return "hangs"
        if "Traceback (most recent call last)" in self.printed:
            return "traceback"
        if self.code not in EXITS:
            return f"exit {self.code}"
        if self.code == 2 and not self.printed.strip():
            return "silent"
        return "memory" if self.num_bytes > MOST_BYTES else None

    def __str__(self) -> str:
        told = self.printed[:4000]
        return (
            f"{self.fault}: {self.kind} {self.seed}: {self.file}: {self.command}: "
            f"{self.seconds:.1f} s, {self.num_bytes >> 20} MiB\n{told}"
        )


def main(*arguments: str) -> int:
    """Run a command in this process, tasks and all."""
    from pipeline.cli.main import main as run

    return run(list(arguments))


class _Here(InProcess):
    """A cluster of this process alone."""

    ends_before = ""
    """The stage that is not begun, as if the command were interrupted."""

    def each(self, stage: str, function: Callable[[Any], Any], tasks: Tasks[Any]) -> Iterator[Any]:
        if stage == self.ends_before:
            raise KeyboardInterrupt
        return super().each(stage, function, tasks)


def run_tasks_here() -> None:
    """Let commands run their tasks in the process that they run in."""
    # The functions of these names hide the modules.
    modules = [
        import_module(f"pipeline.runner.{name}") for name in ("sampled_shards", "replay_pool")
    ]

    @contextlib.contextmanager
    def open_here(*_: Any, **__: Any) -> Iterator[_Here]:
        yield _Here(lambda *_: None)

    for module in modules:
        vars(module)["open_cluster"] = open_here


def write_folder(folder: Path) -> None:
    """Write everything that commands read, after `run_tasks_here`; this process goes there."""
    (folder / "in").mkdir(parents=True)
    os.chdir(folder)
    Path("m.yaml").write_text(_MIXTURE)
    Path("shared.yaml").write_text(_SHARED)
    Path("own.py").write_text(_OWN)
    Path("replay.yaml").write_text(_REPLAY)
    Path("r.yaml").write_text(_RECIPE)
    shutil.copytree(builds.REPOSITORY / "recipes" / "parts", "parts")
    parts = ", ".join(f"parts/{one}.yaml" for one in ("suite", "pretraining", "encoder", "sample"))
    Path("recipe.shared.yaml").write_text(f"extends: [{parts}]\nprecision: fp32\ncompile: false\n")
    _write_tokenizer(Path("tok.json"))
    lines = builds.json_lines(builds.documents("lines", 30, 120))
    Path("in/lines.jsonl").write_bytes(lines + b'{"id": "broken", "text": \n')
    packed = gzip.compress(builds.json_lines(builds.documents("g", 8, 90)))
    Path("in/gz.json.gz").write_bytes(packed)
    packed = zstandard.compress(builds.json_lines(builds.documents("z", 8, 90)))
    Path("in/zst.jsonl.zst").write_bytes(packed)
    texts = [one["text"] for one in builds.documents("table", 8, 90)]
    more = pa.array(range(8), pa.timestamp("ns"))
    pq.write_table(pa.table({"text": texts, "at": more}), "in/table.parquet")
    Path("in/text.txt").write_text(builds.text("text", 100))
    _write_other_formats(Path("in"))
    tokenizer = Tokenizer.from_file("tok.json")
    Path("in/shard.00000.mds").write_bytes(mds([tokenizer.encode(text).ids for text in texts[:4]]))
    for command in (
        "build m.yaml --allow-code --out data --workers 1 --set tokenizer.name=modernbert",
        "lock m.yaml --lock locked.json",
        _AGAIN,
        "build m.yaml --allow-code --out other --workers 1 --set order.seed=5",
        f"{_ORDER} --out mds --format mds",
        "digest out --out digested.json",
        f"{_TRAIN} --max-steps 6",
    ):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            code = main(*command.split())
        assert code == 0, (command, printed.getvalue())
    _Here.ends_before = "sort documents"
    assert main(*_HALF.split()) == 130
    _Here.ends_before = ""


def _write_other_formats(folder: Path) -> None:
    documents = builds.documents("other", 6, 60)
    for name, delimiter in (("rows.csv", ","), ("rows2.tsv", "\t")):
        with (folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, ("id", "text"), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(documents)
    table = pa.Table.from_pylist(documents)
    with pa.ipc.new_file(folder / "rows.arrow", table.schema) as writer:
        writer.write_table(table)
    lines = builds.json_lines(documents)
    (folder / "slow.jsonl.xz").write_bytes(lzma.compress(lines))
    (folder / "slow2.jsonl.bz2").write_bytes(bz2.compress(lines))
    (folder / "array.json").write_text(json.dumps([{"inner": one} for one in documents]))


def _write_tokenizer(path: Path) -> None:
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        show_progress=False,
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator([builds.text("fuzz", 500)], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(path))


def mutate(folder: Path, kind: str, draw: random.Random) -> str:
    """Mutate a file of a kind; return its path."""
    target = TARGETS[kind]
    files = sorted(path for path in folder.glob(target.files) if path.is_file())
    path = draw.choice(files)
    data = path.read_bytes()
    changed = target.mutate(data, draw)
    path.unlink()
    path.write_bytes(changed)
    if kind in ("optimizer", "weights") and draw.random() < 0.7:
        _pin_again(path)
    return path.relative_to(folder).as_posix()


def _pin_again(path: Path) -> None:
    """Let a checkpoint's record name the bytes that a file has now."""
    from pipeline.core.digest import FileDigest
    from pipeline.dataset import checkpoint_record

    record = path.parent / checkpoint_record.RECORD
    content = json.loads(record.read_bytes())
    found = FileDigest.of(path)
    content["files"][path.name] = checkpoint_record.to_json(found)
    record.write_bytes(mutations._sealed(content))


def try_one(template: Path, scratch: Path, kind: str, seed: int, *, alone: bool = False) -> Trial:
    """Run a command of a kind on a mutated copy of a folder, in a fork of this process.

    alone: run it as a person does, in a new process on a cluster of its own.
    """
    draw = random.Random(f"{kind}/{seed}")
    folder = scratch / "trial"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)
    file = mutate(folder, kind, draw)
    command = draw.choice(TARGETS[kind].commands)
    began = time.monotonic()
    with (scratch / "printed").open("w+b") as printed:
        if (child := os.fork()) == 0:
            _run_forked(folder, command, printed.fileno(), alone)
        code, num_bytes = _wait(child, SECONDS * (3 if alone else 1))
        printed.seek(0)
        told = printed.read().decode(errors="replace")
    # What was reported of a fault, traceback and all.
    told += "".join(report.read_text() for report in folder.glob("ettin-data-*.txt"))
    return Trial(
        kind=kind, seed=seed, file=file, command=command, code=code, printed=told,
        seconds=time.monotonic() - began, num_bytes=num_bytes,
    )  # fmt: skip


def _run_forked(folder: Path, command: str, printed: int, alone: bool) -> None:
    code = 99
    try:
        os.setsid()
        os.chdir(folder)
        tempfile.tempdir = str(folder)
        os.environ["TMPDIR"] = str(folder)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        if alone:
            words = builds.command(*command.split())
            os.execve(words[0], words, builds.environment(OMP_NUM_THREADS="1"))
        for number, name in ((1, "stdout"), (2, "stderr")):
            again = os.fdopen(number, "w", 1, "utf-8", "backslashreplace", closefd=False)
            setattr(sys, name, again)
        code = main(*command.split())
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 98
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def _wait(child: int, seconds: float) -> tuple[int, int]:
    """Return the exit code of a child and its most memory; kill its session if it takes longer."""
    handle = os.pidfd_open(child)
    try:
        ended, _, _ = select.select([handle], [], [], seconds)
        if not ended:
            os.killpg(child, signal.SIGKILL)
        _, status, usage = os.wait4(child, 0)
    finally:
        os.close(handle)
    return os.waitstatus_to_exitcode(status), usage.ru_maxrss << 10
