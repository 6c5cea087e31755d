"""A small mixture whose sources lie on two servers and on disk."""

import gzip
from pathlib import Path

import zstandard
from support import builds

MIXTURE = """\
name: two-servers
chunk: {size: 128}
sources:
  hub: {from: {hub: org/a, files: "data/**/*.zst", partition: path}}
  plain: {from: {url: "ENDPOINT/files/dolma/books-{0000..0001}.json.gz"}}
  here: {from: {path: [in/letters.jsonl, in/notes.json.gz]}}
validation: {fraction: 0.05}
order: {seed: 21, global_batch_size: 16, max_seq_len: 128}
"""


def write_files(folder: Path, seed: str = "") -> None:
    """Write what the servers have, and what lies beside the mixture."""
    contents = {}
    for part in range(2):
        lines = builds.json_lines(builds.documents(f"hub{seed}-{part}", 30, 300))
        contents[f"a/data/{part}/part.jsonl.zst"] = zstandard.compress(lines)
        lines = builds.json_lines(builds.documents(f"books{seed}-{part}", 30, 300))
        contents[f"dolma/books-{part:04d}.json.gz"] = gzip.compress(lines, mtime=0)
    contents["in/letters.jsonl"] = builds.json_lines(builds.documents(f"letters{seed}", 30, 200))
    lines = builds.json_lines(builds.documents(f"notes{seed}", 10, 200))
    contents["in/notes.json.gz"] = gzip.compress(lines, mtime=0)
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
