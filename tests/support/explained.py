"""Builds that divergences are planted in, and what explains them: shared by tests of causes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import planted

from pipeline.audit.verify.against import verify_against
from pipeline.audit.verify.comparison import Finding

MIXTURE = """\
name: planted
tokenizer: {name: modernbert, add_prefix_space: false}
chunk: CHUNK
sources:
  prose: {from: {path: "in/prose/*.json.gz"}}
  notes: {from: {path: in/notes/*.jsonl.zst, text: body, id: key}, epochs: 5/2}
  tables: {from: {path: in/tables/*.parquet, id: null}}
  long: {from: {path: in/long/long-0.jsonl}, tokens: 60000}
order:
  algorithm: ettin-pcg64dxsm-v1
  seed: 21
  global_batch_size: 16
  max_seq_len: 128
  view: encoder
  window_tokens: 40k
shards: {size_limit: 32KiB}
on_error: skip
"""


WHOLE = "{algorithm: whole-v1, size: 128}"


CUT = "{algorithm: ettin-slice-v1, size: 128, min_size: 64, skip_below: 16, seed: 42}"


SETTINGS = {
    "whole": (),
    "whole, prefix space": ("tokenizer.add_prefix_space=true",),
    "whole at 96": ("chunk.size=96",),
    "whole, longer": ("chunk.size=200", "order.max_seq_len=200"),
    "whole, stored": ("order.view=stored",),
    "whole, sample": ("sample.seed=5",),
    "whole, feistel": ("order.algorithm=feistel-v1",),
    "doubled": ("sources.notes.epochs=2",),
    "slice": (),
    "slice, prefix space": ("tokenizer.add_prefix_space=true",),
    "slice, other tails": ("chunk.min_size=126", "chunk.skip_below=32"),
    "slice 2": ("chunk.algorithm=ettin-slice-v2",),
    "retokenize": ("chunk.algorithm=ettin-retokenize-v1",),
    "reencode": ("chunk.algorithm=ettin-reencode-v1",),
    "reencode, prefix space": (
        "chunk.algorithm=ettin-reencode-v1",
        "tokenizer.add_prefix_space=true",
    ),
}


OTHERS = ("  prose:", "  tables:", "  long:")


Made = Callable[[str], Path]


def findings(out: Path, what: Path, **part: Any) -> dict[str, Finding]:
    """Return what explains a difference, by kind; no kind comes twice."""
    report = verify_against(out, str(what), **part)
    assert not report.equal
    found = {finding.kind: finding for finding in report.findings}
    assert len(found) == len(report.findings), report.findings
    for finding in report.findings:
        json.dumps(finding.evidence)
    return found


def only(found: dict[str, Finding], kind: str) -> Finding:
    """Return the one finding there is to be."""
    assert set(found) == {kind}, found
    return found[kind]


def row_of(pool: planted.Planted, row: int) -> str:
    """Say of a row of the pool which it is of its partition, as findings do."""
    source, folder = pool.partitions[row].split("/")
    inside = row - pool.rows_of(pool.partitions[row])[0]
    return f"row {inside:,} of {source}/{folder.split('-tokenized')[0]}"


def swapped(pool: planted.Planted, one: int, other: int) -> list[str]:
    names = list(pool.names)
    names[one], names[other] = names[other], names[one]
    return names
