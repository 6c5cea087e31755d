"""Inputs that change during a build: what one pass decides is never applied to other bytes."""

import gzip
import json
import os
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import builds
from support.here import Here, run_here
from support.mds import write as write_pool
from support.strategies import Row

from pipeline.config.load import load_mixture, load_replay
from pipeline.core.errors import DocumentError, InputError, MismatchError
from pipeline.dataset.mds.writer import index_bytes
from pipeline.runner import run as building
from pipeline.runner import sampled_shards
from pipeline.runner.cluster import Tasks
from pipeline.runner.replay_pool import replay_pool
from pipeline.sources.partitions import list_files
from pipeline.sources.readers import FileReader

TEXTS = [f"document number {i} has its own words" for i in range(10)]
MIXTURES = {
    "dedup": ("dedup: {}", ""),
    "filter": ("dedup: {}", "filters: [{regex: {pattern: SECRET}}]"),
    "decontaminate": ("decontaminate: {path: evaluation.jsonl, ngram_words: 3}", ""),
    "repeated ids": ("on_error: skip", ""),
    "validation": ("validation: {fraction: 0.3}\ndedup: {}", ""),
}
"""What a mixture and its source say, by what makes two passes of a file."""


def write(path: Path, texts: Sequence[str]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(
        builds.json_lines({"id": f"id {n % 9}", "text": text} for n, text in enumerate(texts))
    )


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that builds a mixture and calls something after each stage."""

    def run(case: str, between: Callable[[], None]) -> None:
        run_here(monkeypatch, sampled_shards, Here(between))
        settings, of_source = MIXTURES[case]
        declared = f"""
name: t
chunk: {{size: 64}}
sources: {{a: {{from: {{path: "d/*"}}, {of_source}}}}}
order: {{seed: 21, global_batch_size: 1, max_seq_len: 64}}
{settings}
{"" if "on_error" in settings else "on_error: skip"}
"""
        mixture = load_mixture(tmp_path / "m.yaml", (), text=declared.encode())
        building.build(mixture, tmp_path / "out", workers=1, scheduler=None, report=lambda *_: None)

    return run


@pytest.mark.parametrize("case", MIXTURES)
def test_a_file_that_changes_between_two_passes_is_named_and_not_written(
    case: str, build: Callable[..., None], tmp_path: Path
) -> None:
    write(tmp_path / "evaluation.jsonl", [TEXTS[3]])
    texts = [*TEXTS[:5], TEXTS[0], "this one has a SECRET in it", *TEXTS[6:]]
    write(tmp_path / "d" / "f.jsonl", texts)
    # It repeats ids of the other, which takes another pass.
    write(tmp_path / "d" / "g.jsonl", TEXTS[8:])

    def change() -> None:
        write(tmp_path / "d" / "f.jsonl", ["a new first document arrived", *texts])

    with pytest.raises(MismatchError) as raised:
        build(case, change)
    assert raised.value.message.startswith("d/f.jsonl: changed during the build: got sha256 ")
    assert not (tmp_path / "out" / "manifest.json").exists()
    # Once the file is at rest, the same command builds what a fresh one does.
    build(case, lambda: None)
    healed = builds.digests(tmp_path / "out" / "train")
    (tmp_path / "out").rename(tmp_path / "before")
    build(case, lambda: None)
    assert builds.digests(tmp_path / "out" / "train") == healed


@pytest.mark.parametrize(
    ("name", "pack"),
    # A document that is cut off is a bad one, which is skipped; a stream is damage of the file.
    [("f.jsonl", bytes), ("f.jsonl.gz", gzip.compress)],
)
def test_a_file_that_is_cut_off_between_two_passes_is_named_as_changed(
    build: Callable[..., None], tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "d" / name
    write(path, TEXTS)
    whole = pack(path.read_bytes())
    path.write_bytes(whole)
    with pytest.raises(MismatchError, match=f"d/{name}: changed during the build"):
        build("dedup", lambda: path.write_bytes(whole[:-30]))


def test_parquet_that_changes_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    """It is read twice: once for its digest."""
    path = tmp_path / "f.parquet"
    table = pa.table({"text": [None, "one", "two"]})
    pq.write_table(table, path)
    [file] = list_files("source", (path.name,), tmp_path)

    def replace_it(_: DocumentError) -> None:
        pq.write_table(table.slice(1), tmp_path / "other")
        (tmp_path / "other").rename(path)

    reader = FileReader(file, text_field="text", id_field=None)
    with pytest.raises(InputError, match=r"f\.parquet: changed while it was read"):
        list(reader.blocks(replace_it))


def test_the_first_pass_is_what_later_ones_are_compared_with(
    build: Callable[..., None], tmp_path: Path
) -> None:
    """A change before the first pass is no change."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    write(tmp_path / "d" / "f.jsonl", TEXTS)
    with pytest.raises(KeyboardInterrupt):  # The scan stays, and is of other bytes.
        build("dedup", interrupt)
    write(tmp_path / "d" / "f.jsonl", TEXTS[::-1])
    build("dedup", lambda: None)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert manifest["sources"]["a"]["documents"]["in"] == len(TEXTS)


@pytest.mark.parametrize(
    ("memory_bytes", "stage"), [(1 << 30, "order"), (1, "scatter")], ids=["in memory", "on disk"]
)
@pytest.mark.parametrize("restores_mtime", [False, True])
def test_a_shard_that_changes_before_a_later_pass_of_an_order_is_named_and_not_written(
    memory_bytes: int,
    stage: str,
    restores_mtime: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [Row(f"d{n}", [n, n + 1, n + 2]) for n in range(40)]
    index = write_pool(tmp_path / "pool", rows, dtype="uint16", size_limit=300)
    (tmp_path / "pool" / "index.json").write_bytes(index_bytes(index, merged=True))
    shard = sorted((tmp_path / "pool").glob("*.mds"))[1]

    class Damaging(Here):
        def each(
            self, name: str, function: Callable[[Any], Any], tasks: Tasks[Any]
        ) -> Iterator[Any]:
            if name == stage:
                self.between()
            yield from map(function, tasks)

    def change() -> None:
        data = bytearray(shard.read_bytes())
        data[-1] ^= 1
        before = shard.stat()
        shard.write_bytes(data)
        if restores_mtime:
            os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))

    run_here(monkeypatch, import_module("pipeline.runner.replay_pool"), Damaging(change))
    declared = load_replay(["order.global_batch_size=4", "order.max_seq_len=16"])
    with pytest.raises(InputError, match=rf"{shard.name}: changed while the pool was read"):
        replay_pool(
            tmp_path / "pool", tmp_path / "out", declared, workers=1, scheduler=None,
            report=lambda *_: None, memory_bytes=memory_bytes,
        )  # fmt: skip
    assert not list((tmp_path / "out").rglob("steps_*.parquet"))
