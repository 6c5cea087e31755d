"""Small builds for tests: inputs written from a seed, the command run as a person runs it.

Nothing here comes from outside the repository; the same arguments write the same bytes.
"""

import gzip
import hashlib
import io
import json
import logging
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from support.paths import REPOSITORY

from pipeline.cli import main

SECONDS = 300
"""Longest that one small build may take on a busy machine, where other processes compile too."""

MIXTURE = """\
name: small
tokenizer: {name: modernbert, add_prefix_space: true}
chunk: {algorithm: ettin-reencode-v1, size: 128, min_size: 64, skip_below: 16, seed: 42}
sources:
  prose:
    category: prose
    from: {path: ["in/prose/*.json.gz", in/more/letters.jsonl]}
    tokens: 9000
  notes:
    from: {path: in/notes/*.jsonl.zst, text: body, id: key}
    epochs: 5/2
  tables:
    from: {path: in/tables/*.parquet, id: null}
  plain:
    from: {path: in/plain/*.txt}
  long:
    from: {path: in/long/long-0.jsonl}
order:
  {algorithm: ettin-pcg64dxsm-v1, seed: 21, global_batch_size: 16, max_seq_len: 128, view: encoder,
   window_tokens: 100k}
shards: {size_limit: 16KiB}
on_error: skip
"""

_WORDS = re.findall(
    r"\S+",
    "tide harbour lantern winter almanac the a of and under slowly carried because river stone "
    "engine measures copper thread naïve façade übermäßig señor 東京 данные λόγος 🙂 ﬁne x1 "
    "return while def lambda != ** 3.14159 0x1F <br> & \"quoted\" don't we're it's I'm you've",
)
_ENDS = (". ", "! ", "? ", " .\n", ",\t", "\n\n", "  ", " ?", ";\r\n", "\u00a0", "\u3000")


def text(seed: str, num_words: int) -> str:
    """Return words with the joints that the clean-up of spaces and the splitter care about."""
    # Of all that Python draws, `random()` alone is promised never to change.
    draw = random.Random(seed).random
    parts = []
    for _ in range(num_words):
        parts.append(_WORDS[int(draw() * len(_WORDS))])
        parts.append(_ENDS[int(draw() * len(_ENDS))] if draw() < 0.2 else " ")
    return "".join(parts)


def documents(source: str, number: int, most_words: int) -> list[dict[str, str]]:
    """Return documents of mixed length, most of them short."""
    draw = random.Random(source)
    return [
        {
            "id": f"{source}-{i}",
            "text": text(f"{source}/{i}", 1 + int(draw.random() ** 3 * most_words)),
        }
        for i in range(number)
    ]


def json_lines(records: Iterable[Mapping[str, Any]]) -> bytes:
    """Return records as JSON lines."""
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)


def write_inputs(folder: Path, *, backwards: bool = False) -> Path:
    """Write the inputs of the small mixture and the mixture itself; return its path.

    `backwards` creates the files in the opposite order and changes nothing else.
    """
    files = _input_files()
    for name in sorted(files, reverse=backwards):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[name])
    return write_mixture(folder, MIXTURE)


def write_mixture(folder: Path, content: str, name: str = "small.yaml") -> Path:
    """Write a mixture file."""
    path = folder / name
    path.write_text(content)
    return path


def _input_files() -> dict[str, bytes]:
    files = {}
    for part in range(3):
        lines = json_lines(documents(f"prose-{part}", 40, 300))
        files[f"in/prose/prose-{part}.json.gz"] = gzip.compress(lines, mtime=0)
    # Two ids that were seen before: in another file, and in this one.
    letters = documents("letters", 30, 200)
    letters += [{"id": "prose-1-7", "text": "again"}, {"id": "letters-3", "text": "again"}]
    files["in/more/letters.jsonl"] = json_lines(letters) + b'{"id": "broken", "text": \n{"id": 7}\n'
    notes = [{"key": one["id"], "body": one["text"]} for one in documents("notes", 60, 150)]
    notes += [{"key": "empty", "body": ""}, {"key": "special", "body": "[CLS][SEP]"}]
    files["in/notes/notes.jsonl.zst"] = zstandard.compress(json_lines(notes))
    table = pa.table({"text": [one["text"] for one in documents("tables", 50, 250)]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    files["in/tables/tables.parquet"] = sink.getvalue().to_pybytes()
    for name in ("one", "two"):
        files[f"in/plain/{name}.txt"] = text(name, 400).encode()
    files["in/long/long-0.jsonl"] = json_lines(documents("long", 120, 4000))
    return files


def environment(**extra: str) -> dict[str, str]:
    """Return what the command runs under: this checkout, and no settings of the person's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DASK_")}
    return {**kept, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}", **extra}


def command(*arguments: str | Path) -> list[str]:
    """Return the command line of `ettin-data`."""
    return [sys.executable, "-m", "pipeline", *map(str, arguments)]


Finished = subprocess.CompletedProcess[str]


def run(*arguments: str | Path, cwd: Path = REPOSITORY, **variables: str) -> Finished:
    """Run the command to its end in this process, which is quick, as all is warm.

    Libraries read their variables when they are imported, so with any it has a process of its own.
    """
    if variables:
        return run_alone(*arguments, cwd=cwd, **variables)
    with (
        redirect_stdout(io.StringIO()) as stdout,
        redirect_stderr(io.StringIO()) as stderr,
        mock.patch.dict(os.environ, environment(), clear=True),
        # What handles no log prints warnings to stderr; pytest handles them.
        mock.patch.object(logging.getLogger(), "handlers", []),
        chdir(cwd),
    ):
        try:
            code = main([*map(str, arguments)])
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Finished(arguments, code, stdout.getvalue(), stderr.getvalue())


def run_alone(*arguments: str | Path, cwd: Path = REPOSITORY, **variables: str) -> Finished:
    """Run the command to its end in a process of its own, as a person does."""
    return subprocess.run(
        command(*arguments),
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def well(done: Finished) -> str:
    """Return the stdout of a command, which must have succeeded."""
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def run_well(*arguments: str | Path, cwd: Path = REPOSITORY, **variables: str) -> str:
    """Run the command in this process, where it must succeed; return its stdout."""
    return well(run(*arguments, cwd=cwd, **variables))


def start(
    *arguments: str | Path,
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
    cwd: Path = REPOSITORY,
) -> subprocess.Popen[str]:
    """Start the command in a process group of its own, as a terminal does."""
    return subprocess.Popen(
        command(*arguments),
        cwd=cwd,
        env=environment(),
        stdout=stdout,
        stderr=stderr,
        text=True,
        start_new_session=True,
    )


def group_members(group: int) -> list[int]:
    """Return the processes of a group that are alive."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                # After the name, which may hold anything: state, parent, group.
                state, _, member_of = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(member_of) == group and state not in "ZX":
                members.append(int(entry.name))
    return members


def digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below a folder, by relative path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def differences(one: Mapping[str, str], other: Mapping[str, str]) -> Sequence[str]:
    """Return the paths at which two folders differ."""
    return sorted(path for path in {*one, *other} if one.get(path) != other.get(path))
