"""Replay pool: any MDS pool with an index -> its rows in order, as a trainer reads them.

The pool is only read. The output is like that of a build, without shards of its own.
"""

from dataclasses import dataclass
from pathlib import Path

from pipeline.config import RAW, Replay
from pipeline.core.digest import fingerprint, sha256_bytes, sha256_file
from pipeline.core.errors import InputError
from pipeline.core.progress import ReportProgress
from pipeline.dataset import Manifest, MixtureRecord
from pipeline.dataset.mds import INDEX_NAME, Pool
from pipeline.runner.cluster import default_memory_bytes, open_cluster
from pipeline.runner.order_rows import order_pool
from pipeline.runner.output_lock import finish, lock_output, make_manifest, restore_records
from pipeline.sources import POOL, Lock, check_file, check_tokenizer, locate, lock_bytes
from pipeline.stages.tokenizer import load_tokenizer
from pipeline.storage import StoredFile


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedFile:
    """One file of a pool, and what it must be."""

    path: Path
    file: StoredFile


def replay_pool(
    pool: Path,
    out: Path,
    declared: Replay,
    *,
    lock: Lock | None = None,
    raw: Path = RAW,
    workers: int,
    scheduler: str | None,
    report: ReportProgress,
    memory_bytes: int | None = None,
) -> Manifest:
    """Write the rows of a pool in order into a folder; return its manifest, also written there.

    `lock`: what the pool's files and the tokenizer must be. `raw`: the folder of pulled
    files. `memory_bytes`: as for `build`.

    Raises: PipelineError of the kind that says what to do next; then nothing half-written is left,
    and another run continues from what is done.
    """
    pool = pool.resolve()
    if out.resolve().is_relative_to(pool):
        raise InputError(f"--out {out}: lies in the pool {pool}, which is never written to")
    if pool.is_relative_to(out.resolve()):
        raise InputError(f"{pool}: lies in --out {out}, which holds only generated files")
    Pool.open(pool)  # Refused before anything is written.
    declaration = {**declared.declaration(), "pool": sha256_file(pool / INDEX_NAME)}
    tokenizer = load_tokenizer(
        declared.tokenizer.name,
        add_prefix_space=declared.tokenizer.add_prefix_space,
        revision=declared.tokenizer.revision,
        folder=declared.folder,
    )
    if lock is not None:
        check_tokenizer(lock.tokenizer, tokenizer.digest)
    identity = fingerprint(declaration)
    with lock_output(out.absolute(), identity) as state:
        with open_cluster(workers, scheduler, report) as cluster:
            restore_records(state)
            if lock is not None:
                cluster.map("check the pool", check_locked, _locked_files(lock, declared, raw))
            order, files = order_pool(
                state,
                cluster,
                pool,
                declared,
                tokenizer,
                identity=identity,
                owner=identity,
                memory_bytes=default_memory_bytes() if memory_bytes is None else memory_bytes,
            )
        mixture = MixtureRecord(
            name=pool.name,
            fingerprint=identity,
            declaration=declaration,
            overrides=tuple(declared.overrides),
        )
        lock_digest = None if lock is None else sha256_bytes(lock_bytes(lock))
        return finish(state, make_manifest(mixture, lock_digest, tokenizer, order, files))


def pool_folder(lock: Lock, declared: Replay, raw: Path) -> Path:
    """Return where the pool of a replay lies, once it is pulled."""
    locked = lock.sources[POOL]
    # It names the shards, which lie deeper.
    index = min(locked.files, key=lambda file: file.path.count("/"))
    return locate(raw, declared.folder, locked, index).parent


def check_locked(task: LockedFile) -> None:
    """Check that a file is as it was locked. Raises: MismatchError when it is not."""
    check_file(task.path, task.file)


def _locked_files(lock: Lock, declared: Replay, raw: Path) -> list[LockedFile]:
    locked = lock.sources[POOL]
    return [
        LockedFile(path=locate(raw, declared.folder, locked, file).absolute(), file=file)
        for file in locked.files
    ]
