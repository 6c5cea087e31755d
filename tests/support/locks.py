"""Locks made by hand."""

from pipeline.config.source import Origin
from pipeline.sources.lock.lock import Lock, LockedSource, LockedTokenizer
from pipeline.storage.store import StoredFile

COMMIT = "0" * 40


A_DIGEST = "sha256:" + "a" * 64


TOKENIZER = LockedTokenizer(name="modernbert", revision=None, digest="f" * 64)


MIXTURE = """\
name: small
chunk: {algorithm: whole-v1, size: 128}
dedup: {minhash: {}}
sources:
  hub: {from: {hub: org/a, files: "data/**/*.jsonl"}}
  notes: {from: {hub: org/a, files: notes.json}}
  plain: {from: {url: "ENDPOINT/files/dolma/books-{0000..0001}.json.gz"}}
  here: {from: {path: "in/*.txt"}}
order: {seed: 21, global_batch_size: 16, max_seq_len: 128}
"""


def quiet(stage: str, done: int, total: int, *_: object) -> None:
    """Report nothing."""


def file(path: str = "a.jsonl", num_bytes: int = 7, digest: str = A_DIGEST) -> StoredFile:
    return StoredFile(path=path, num_bytes=num_bytes, digest=digest)


def lock(files: tuple[StoredFile, ...], revision: str | None = COMMIT, name: str = "a") -> Lock:
    origin = Origin(hub="org/a", files=("**",))
    source = LockedSource(origin=origin, revision=revision, files=files)
    return Lock(
        name="small", tokenizer=TOKENIZER, algorithms={"order": "x-v1"}, sources={name: source}
    )
