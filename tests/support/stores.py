"""A data set on the Hub, at a web host and in a folder, and waits that are only noted."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from support.source_server import Server

from pipeline.config.source import Origin
from pipeline.storage.retry import RetryPolicy
from pipeline.storage.store import Store, StoredFile

HERE = Path()


LARGE = bytes(range(256)) * 400


CARD = """---
license: mit
configs:
- config_name: books
  data_files: "data/books/*.json.gz"
- config_name: web
  data_files:
  - split: train
    path: ["data/web/part-0*.jsonl.zst", "data/web/deep/**"]
  - split: test
    path: data/web/test.jsonl.zst
---
# A data set
"""


FILES = {
    "README.md": CARD.encode(),
    "data/books/a.json.gz": LARGE,
    "data/books/b.json.gz": b"b",
    "data/web/part-00.jsonl.zst": b"0",
    "data/web/part-10.jsonl.zst": b"10",
    "data/web/test.jsonl.zst": b"",
    "data/web/deep/er/x.jsonl": b"x",
}


A = "data/books/a.json.gz"


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def on_hub(name: str = "set", revision: str | None = None, *files: str) -> Origin:
    return Origin(hub=f"org/{name}", revision=revision, files=files or ("**",))


def at_host(server: Server, *paths: str) -> Origin:
    return Origin(url=tuple(server.url("set", path) for path in paths))


def received(origin: Store, file: StoredFile, start: int = 0) -> bytes:
    body = bytearray()
    origin.stream(file, start, body.extend)
    return bytes(body)


def file_named(files: Sequence[StoredFile], end: str) -> StoredFile:
    [file] = [file for file in files if file.path.endswith(end)]
    return file


class Sleeps(list[float]):
    """Waits that were asked for, none of which was waited."""

    def patience(self, *, timeout_seconds: float = 20.0) -> RetryPolicy:
        return RetryPolicy(sleep=self.append, timeout_seconds=timeout_seconds, max_tries=3)
