"""Replay pool: any MDS pool with an index, only read -> an output of its rows in order."""

from pathlib import Path
from typing import Unpack

from pipeline.config import RAW, Replay
from pipeline.core.digest import fingerprint, sha256_file
from pipeline.core.errors import ConfigError, InputError
from pipeline.core.mirrored import total_bytes
from pipeline.dataset import PARTIAL, Manifest, MixtureRecord, without_order
from pipeline.dataset.mds import INDEX_NAME, Pool
from pipeline.runner.build_options import ClusterOptions
from pipeline.runner.earlier_build import resuming
from pipeline.runner.open_cluster import open_cluster
from pipeline.runner.order_rows import order_pool
from pipeline.runner.output_lock import (
    finish,
    lock_output,
    make_manifest,
    refuse_nested,
)
from pipeline.runner.output_tokenizer import (
    cached_tokenizer,
    check_special_tokens,
    copy_tokenizer,
)
from pipeline.sources import POOL, Lock, check_file, check_tokenizer, locate
from pipeline.storage import StoredFile


def replay_pool(
    pool: Path,
    out: Path,
    declared: Replay,
    *,
    lock: Lock | None = None,
    raw: Path = RAW,
    **options: Unpack[ClusterOptions],
) -> Manifest:
    """Write the rows of a pool in order into a folder; return its manifest, also written there.

    lock: what the pool's files and the tokenizer must be. raw: the folder of pulled files.

    Raises: as `build`.
    """
    if declared.order.listing is not None:
        raise ConfigError(
            "order.partitions: got listed with a pool of MDS shards, expected sorted, since its"
            " index.json has their order"
        )
    pool = pool.resolve()
    if (pool / PARTIAL).is_file():
        raise InputError(*without_order(str(pool)))
    if out.resolve().is_relative_to(pool):
        raise InputError(f"--out {out}: lies in the pool {pool}, which is never written to")
    if pool.is_relative_to(out.resolve()):
        raise InputError(f"{pool}: lies in --out {out}, which holds only generated files")
    refuse_nested(out)
    # Fails before anything is written.
    num_bytes = total_bytes(pool, (shard.path for shard in Pool.open(pool).shards))
    declaration = {**declared.declaration(), "pool": sha256_file(pool / INDEX_NAME)}
    tokenizer = cached_tokenizer(declared.tokenizer, declared.folder)
    if lock is not None:
        check_tokenizer(lock.tokenizer, tokenizer.digest, lock.where)
    check_special_tokens(tokenizer, declared.order, None)
    identity, memory_bytes = fingerprint(declaration), options.get("memory_bytes")
    with lock_output(out.absolute(), identity, updates=options.get("updates", False)) as state:
        cluster_of = open_cluster(
            options["workers"],
            options["scheduler"],
            options["report"],
            options.get("tls"),
            num_bytes,
            folders=[state.root],
            files=[pool / INDEX_NAME],
            retried=options.get("retried"),
        )
        resumed = resuming(state, hashes_all=options.get("hashes_all", False))
        with cluster_of as cluster, resumed as hashes_all:
            if lock is not None:
                locked = lock.sources[POOL]
                is_local = locked.origin.kind == "path"
                files = [
                    (locate(raw, declared.folder, locked, file).absolute(), file, is_local)
                    for file in locked.files
                ]
                cluster.map("check the pool", check_locked, files)
            order, ordered = order_pool(
                state,
                cluster,
                pool,
                declared,
                tokenizer,
                identity=identity,
                owner=identity,
                memory_bytes=cluster.memory_bytes() if memory_bytes is None else memory_bytes,
                hashes_all=hashes_all,
            )
        mixture = MixtureRecord(
            name=pool.name,
            fingerprint=identity,
            declaration=declaration,
            overrides=tuple(declared.overrides),
        )
        ordered.update(copy_tokenizer(state, tokenizer))
        return finish(state, make_manifest(mixture, lock, tokenizer, order, ordered))


def pool_folder(lock: Lock, declared: Replay, raw: Path) -> Path:
    """Return where the pool of a replay lies, once it is pulled."""
    locked = lock.sources[POOL]
    # The index lies above the shards.
    index = min(locked.files, key=lambda file: file.path.count("/"))
    return locate(raw, declared.folder, locked, index).parent


def check_locked(task: tuple[Path, StoredFile, bool]) -> None:
    """Check that a file, local or not, is as locked. Raises: MismatchError when it is not."""
    path, file, is_local = task
    check_file(path, file, is_local=is_local)
