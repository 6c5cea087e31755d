"""Shapes of mixtures for comparing a plan with a build: small sources, and what is made of them."""

import gzip
import random
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from support.builds import json_lines

from pipeline.runner.shuffle import Limits

_ORDER = "order: {seed: 3, global_batch_size: 16, max_seq_len: 1024, window_tokens: 200k}\n"
_WHOLE = "chunk: {size: 512}\n"
_CUT = "size: 256, min_size: 64, skip_below: 16, seed: 42"
_PLAIN = "from: {path: in/plain-*.jsonl}"

SHAPES = {
    "whole": f"{_WHOLE}sources:\n  plain: {{{_PLAIN}}}\n",
    "sampled": f"{_WHOLE}sources:\n  plain: {{{_PLAIN}, tokens: 120k}}\n",
    "in_sequence": f"{_WHOLE}sources:\n  plain: {{{_PLAIN}, tokens: 380k,"
    " sample: {algorithm: ettin-partitions-v2, seed: 42}}\n",
    "epochs": f"{_WHOLE}sources:\n  plain: {{{_PLAIN}, epochs: 5/2}}\n",
    "holdout": f"{_WHOLE}validation: {{fraction: 0.1}}\nsources:\n  plain: {{{_PLAIN}}}\n",
    "dedup": f"{_WHOLE}dedup: {{minhash: {{}}}}\nsources:\n"
    f"  plain: {{{_PLAIN}}}\n  packed: {{from: {{path: in/packed-*.json.gz}}}}\n",
    "packed": f"{_WHOLE}sources:\n  packed: {{from: {{path: in/packed-*.json.gz}}}}\n"
    "  notes: {from: {path: in/notes.jsonl.zst, text: body, id: key}, tokens: 60k}\n",
    "slices": f"chunk: {{algorithm: ettin-slice-v2, {_CUT}}}\nsources:\n  plain: {{{_PLAIN}}}\n",
    "two_chunkers": f"chunk: {{algorithm: ettin-retokenize-v1, {_CUT}}}\n"
    "validation: {algorithm: ettin-validation-v1, fraction: 0.05, chunker: ettin-slice-v2}\n"
    f"sources:\n  plain: {{{_PLAIN}}}\n",
    "scattered": f"{_WHOLE}sources:\n  plain: {{{_PLAIN}}}\n",
    "sorted": f"{_WHOLE}sources:\n  plain: {{{_PLAIN}}}\n",
    "index": f"{_WHOLE}validation: {{fraction: 0.1}}\nsources:\n  plain: {{{_PLAIN}}}\n",
    "parquet": f"{_WHOLE}sources:\n  table: {{from: {{path: in/table.parquet, id: null}}}}\n",
    "filtered": f"{_WHOLE}on_error: skip\nsources:\n  plain:\n    {_PLAIN}\n"
    "    filters: [length: {min_chars: 600}, regex: {pattern: lamoru}]\n",
    "small_files": f"{_WHOLE}sources:\n  small: {{from: {{path: in/small/*.jsonl}}}}\n",
    "grouped": f"{_WHOLE}sources:\n"
    "  small: {from: {path: in/small/*.jsonl, files_per_partition: 8}, tokens: 9k}\n",
}
"""The mixture of each shape, less its name and order."""


def write_mixture(folder: Path, shape: str) -> Path:
    """Write the mixture of a shape beside the inputs; return its path."""
    path = folder / f"{shape}.yaml"
    extra = "shards: {dtype: uint16, size_limit: 64KiB}\n" if shape == "slices" else ""
    order = _ORDER
    if shape in ("dedup", "two_chunkers"):
        order = _ORDER.replace("{seed", "{algorithm: ettin-pcg64dxsm-v1, view: encoder, seed")
    if shape == "index":
        order = _ORDER.replace("{seed", "{algorithm: ettin-pcg64dxsm-v1, rows: index, seed")
    path.write_text(f"name: {shape.replace('_', '-')}\n{SHAPES[shape]}{order}{extra}")
    return path


def write_inputs(folder: Path) -> None:
    """Write the files of all sources."""
    (folder / "in" / "small").mkdir(parents=True)
    words = _vocabulary()
    for part in range(4):
        documents = _documents(words, f"plain-{part}", 220, 260)
        (folder / f"in/plain-{part}.jsonl").write_bytes(json_lines(documents))
    for part in range(2):
        documents = _documents(words, f"packed-{part}", 160, 300)
        copies = [
            {**one, "id": f"{one['id']}-{part}"} for one in _documents(words, "plain-0", 12, 260)
        ]
        data = gzip.compress(json_lines([*documents, *copies]), mtime=0)
        (folder / f"in/packed-{part}.json.gz").write_bytes(data)
    notes = [{"key": one["id"], "body": one["text"]} for one in _documents(words, "n", 400, 200)]
    (folder / "in/notes.jsonl.zst").write_bytes(zstandard.compress(json_lines(notes)))
    texts = [one["text"] for one in _documents(words, "t", 500, 300)]
    pq.write_table(pa.table({"text": texts}), folder / "in/table.parquet", row_group_size=100)
    for part in range(48):
        documents = _documents(words, f"small-{part}", 6, 160)
        (folder / f"in/small/small-{part:02d}.jsonl").write_bytes(json_lines(documents))


def _vocabulary() -> tuple[Sequence[str], Sequence[float]]:
    """Return made-up words, and how often each and those before it occur: as Zipf has it."""
    draw = random.Random("words").random
    parts = ["la", "mo", "ru", "ke", "tis", "von", "da", "en", "er", "ing", "st", "pro", "ä", "東"]
    words = [
        "".join(parts[int(draw() * len(parts))] for _ in range(1 + n % 4)) for n in range(4000)
    ]
    return words, [*accumulate(1 / (rank + 3) for rank in range(len(words)))]


def _documents(
    words: tuple[Sequence[str], Sequence[float]], source: str, number: int, mean_words: int
) -> list[dict[str, str]]:
    random_ = random.Random(source)
    return [
        {
            "id": f"{source}-{i}",
            "text": " ".join(
                random_.choices(
                    words[0],
                    cum_weights=words[1],
                    k=1 + int(mean_words * random_.expovariate(1)),
                )
            ),
        }
        for i in range(number)
    ]


def memory_of(shape: str) -> int:
    """Return the memory that a build of a shape is given: too little for the pool of two."""
    return 1 << 16 if shape in ("scattered", "sorted") else 1 << 30


def limit_passes(patch: pytest.MonkeyPatch, shape: str) -> None:
    """Let rows of a pool that does not fit in memory be sorted between the passes, in one shape."""
    if shape == "sorted":
        small = {"run_bytes": 1 << 17, "window_bytes": 1 << 16, "one_level_tasks": 1}
        usual = Limits.__init__.__kwdefaults__
        patch.setattr(Limits.__init__, "__kwdefaults__", {**usual, **small})
