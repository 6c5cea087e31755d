"""A mixture of a remote and a local source, and what a lock would say of it."""

from pathlib import Path

from pipeline.config.load import load_mixture
from pipeline.config.mixture import Mixture
from pipeline.config.source import Origin
from pipeline.sources.lock.lock import Lock, LockedSource, LockedTokenizer
from pipeline.storage.store import StoredFile

GIGABYTE = 10**9
MIXTURE = """\
name: planned
chunk: {size: 1024}
sources:
  far:
    category: crawl
    from: {hub: org/data, files: "*.jsonl.zst"}
    tokens: 300M
  near:
    category: prose
    from: {path: near/*.jsonl}
order: {seed: 1, global_batch_size: 8, max_seq_len: 1024}
shards: {dtype: uint16}
"""


def mixture(folder: Path) -> Mixture:
    (folder / "near").mkdir(exist_ok=True)
    (folder / "near" / "a.jsonl").write_bytes(b"x" * 4000)
    return load_mixture(folder / "planned.yaml", text=MIXTURE.encode())


def lock(num_files: int = 10, num_bytes: int = GIGABYTE) -> Lock:
    """Return what a lock would say of the mixture's origins."""
    files = tuple(
        StoredFile(path=f"part-{i:04d}.jsonl.zst", num_bytes=num_bytes, digest=f"sha256:{i:064x}")
        for i in range(num_files)
    )
    far = LockedSource(
        origin=Origin(hub="org/data", files=("*.jsonl.zst",)), revision="c" * 40, files=files
    )
    near = LockedSource(
        origin=Origin(path=("near/*.jsonl",)),
        revision=None,
        files=(StoredFile(path="near/a.jsonl", num_bytes=4000, digest="sha256:" + "a" * 64),),
    )
    tokenizer = LockedTokenizer(name="modernbert", revision=None, digest="0" * 64)
    sources = {"far": far, "near": near}
    return Lock(name="planned", tokenizer=tokenizer, algorithms={}, sources=sources)
