"""A mixture whose sources lie at every kind of place, locked, and pulls of it."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import builds
from support.source_server import Server

from pipeline.config.load import load_mixture
from pipeline.config.mixture import Mixture
from pipeline.core.digest import sha256_bytes
from pipeline.sources.download.download_plan import plan_download, scratch_folder
from pipeline.sources.download.part_file import log_path, part_path
from pipeline.sources.download.pull import PullCounts, pull
from pipeline.sources.lock.checksum import note_path
from pipeline.sources.lock.lock import Lock
from pipeline.storage.store import StoredFile

RANDOM = np.random.default_rng(5)


LARGE = 3_000_000


CONTENTS = {
    "a/data/part-0.bin.jsonl.zst": RANDOM.bytes(LARGE),
    "a/data/part-1.jsonl.zst": RANDOM.bytes(70_000),
    "a/data/empty.jsonl.zst": b"",
    "a/notes.json": RANDOM.bytes(500),
    "dolma/books-0000.json.gz": RANDOM.bytes(100_000),
    "dolma/books-0001.json.gz": RANDOM.bytes(200_000),
    "in/a.txt": b"text",
}


REMOTE_BYTES = sum(len(content) for name, content in CONTENTS.items() if name != "in/a.txt")


HUB_LARGE = "/lfs/org/a/data/part-0"


URL_SECOND = "/files/dolma/books-0001"


MIXTURE = """\
name: small
chunk: {algorithm: whole-v1, size: 128}
sources:
  hub: {from: {hub: org/a, files: ["data/*.zst", notes.json]}}
  again: {from: {hub: org/a, files: "data/part-1*"}}
  plain: {from: {url: "ENDPOINT/files/dolma/books-{0000..0001}.json.gz"}}
  here: {from: {path: "in/*.txt"}}
order: {seed: 21, global_batch_size: 16, max_seq_len: 128}
"""


def quiet(stage: str, done: int, total: int, *_: object) -> None:
    """Report nothing."""


def at_home(monkeypatch: pytest.MonkeyPatch, server: Server, home: Path) -> None:
    """Make a server the endpoint, and let no token be found."""
    monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
    monkeypatch.setenv("HF_HOME", str(home / "home"))
    for name in ("HF_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


def mixture_of(server: Server, folder: Path) -> Mixture:
    text = MIXTURE.replace("ENDPOINT", server.endpoint)
    (folder / "small.yaml").write_text(text)
    return load_mixture(folder / "small.yaml")


def pull_all(lock: Lock, folder: Path, dest: Path, **choice: Any) -> dict[str, PullCounts]:
    return pull(plan_download(lock, folder, dest, **choice), quiet)


def expected_path(server: Server, dest: Path, name: str) -> Path:
    """Where a file of the server lies once it was pulled."""
    if name.startswith("a/"):
        return dest / f"hub/org/a/{server.commit}" / name.removeprefix("a/")
    return dest / "http" / server.endpoint.removeprefix("http://") / "files" / name


def check_all(server: Server, dest: Path) -> None:
    """Insist that all remote files are there, and nothing else but the notes of ETags."""
    remote = [name for name in CONTENTS if not name.startswith("in/")]
    expected = {expected_path(server, dest, name): CONTENTS[name] for name in remote}
    for path, content in expected.items():
        assert path.read_bytes() == content, path
    notes = {note_path(path) for path in expected if "/files/" in str(path)}
    assert {path for path in dest.rglob("*") if path.is_file()} == {*expected, *notes}


def source_files(lock: Lock, name: str) -> dict[str, StoredFile]:
    return {file.path.rpartition("/")[2]: file for file in lock.sources[name].files}


def leave_part(dest: Path, file: StoredFile, *blocks: bytes) -> Path:
    """Leave blocks of a file as a stopped pull does; return the path of the part."""
    part = part_path(scratch_folder(dest), file)
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(b"".join(blocks))
    lines = [f"{len(block)} {sha256_bytes(block)}\n" for block in blocks]
    if file.digest.startswith("etag:"):
        log_path(part).write_text("".join(lines))
    return part


def settle(server: Server) -> None:
    """Mend the server, and wait until it has seen that nobody listens any more."""
    server.set_faults([])
    is_quiet, stop = False, time.monotonic() + builds.SECONDS
    while not is_quiet:
        assert time.monotonic() < stop
        server.reset()
        time.sleep(0.3)
        is_quiet = server.counters()["bytes"] == 0
