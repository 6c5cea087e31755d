"""Many input files: what a build holds open does not grow with them."""

import json
import subprocess
import sys
from pathlib import Path

from support import builds

from pipeline.runner.open_cluster import open_files_of

MIXTURE = """\
name: many
tokenizer: {name: modernbert, add_prefix_space: true}
chunk: {algorithm: whole-v1, size: 64}
sources:
  all: {from: {path: in/all/*.jsonl}}
  half: {from: {path: in/half/*.jsonl}, epochs: 1/2}
order: {algorithm: feistel-v1, seed: 1, global_batch_size: 8, max_seq_len: 64, allow_cut: true}
"""


def test_more_files_are_built_than_may_be_open(tmp_path: Path) -> None:
    limit = open_files_of(1)
    for source in ("all", "half"):
        folder = tmp_path / "in" / source
        folder.mkdir(parents=True)
        for number in range(limit + 30):
            line = {"id": f"{source} {number}", "text": f"file {number} of {source}"}
            (folder / f"{number:04d}.jsonl").write_text(json.dumps(line) + "\n")
    (tmp_path / "mixture.yaml").write_text(MIXTURE)
    command = (sys.executable, "-m", "pipeline", "build", "mixture.yaml", "--out", "out")
    done = subprocess.run(
        ["sh", "-c", f'ulimit -n {limit} && exec "$@"', "sh", *command, "--workers", "1"],
        env=builds.environment(), cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
