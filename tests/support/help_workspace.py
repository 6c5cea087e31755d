"""A folder in which the examples of `--help` run as printed, and a Hub for their addresses.

A mixture of letters with its files, one of stories from the Hub, the sample built twice, documents
with the shard that was made of them, and minimal pairs. Examples of `build` and `train` make what
those of later commands read, so they run in the order of `--help`.
"""

import gzip
import shutil
from collections.abc import Mapping
from pathlib import Path

from support import builds
from support import published_layouts as layouts

from pipeline.stages.tokenizer import read_json

LETTERS = """\
name: letters
chunk: {size: 1024}
sources:
  letters: {from: {path: data/letters-*.jsonl}}
order: {seed: 21, global_batch_size: 2, max_seq_len: 1024}
"""
STORIES = """\
name: stories
chunk: {size: 1024}
sources:
  stories: {from: {hub: lena/stories, files: "*.jsonl"}}
order: {seed: 21, global_batch_size: 2, max_seq_len: 1024}
"""
BOOKS = """\
name: books
chunk: {algorithm: ettin-slice-v2, size: 64, min_size: 64, skip_below: 128, seed: 42}
sources:
  books: {from: {path: books-0001.json.gz}}
order: {seed: 21, global_batch_size: 2, max_seq_len: 64}
"""
PAIR = {"sentence_good": "The boats leave.", "sentence_bad": "The boats leaves."}


def write_workspace(folder: Path) -> Mapping[str, Path]:
    """Write what the examples read. Return the data sets of the Hub by name."""
    for number in (0, 1):
        lines = builds.json_lines(builds.documents(f"letters-{number}", 8, 60))
        _write(folder / f"data/letters-000{number}.jsonl", lines)
        _write(folder / f"hub/stories/part-{number}.jsonl", lines)
    books = builds.json_lines(builds.documents("books", 60, 600))
    _write(folder / "books-0001.json.gz", gzip.compress(books, mtime=0))
    pairs = [PAIR | {"UID": f"agreement_{number}"} for number in range(2)]
    _write(folder / "pairs.jsonl", builds.json_lines(pairs))
    for text in (LETTERS, LETTERS.replace("name: letters", "name: clean"), STORIES, BOOKS):
        name = text.split()[1]
        builds.write_mixture(folder, text, f"{name}.yaml")
    for arguments in (
        ("sample", "--out", "sample-out"),
        ("sample", "--out", "sample-index", "--set", "order.rows=index"),
        ("books.yaml", "--out", "books"),
    ):
        builds.run_well("build", *arguments, cwd=folder)
    [shard] = (folder / "books/train").glob("*/*/shard.00000.mds")
    shutil.copy(shard, folder)
    suite = layouts.write_suite(folder / "hub/suite", read_json("modernbert"))
    mine = {
        "lena/stories": folder / "hub/stories",
        "lena/letters-order": folder / "sample-out/order",
    }
    return {**suite.repos, **mine}


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
