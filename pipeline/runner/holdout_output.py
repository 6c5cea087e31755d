"""Validation: the shards that were set aside -> an output of their own, with rows in order.

It lies in `validation/` and is like any other output: it can be verified, traced and fed.
"""

from dataclasses import replace
from typing import Any

from pipeline.config import Mixture, Replay
from pipeline.core.digest import fingerprint
from pipeline.dataset import FORMAT, MANIFEST, TRAIN, VALIDATION, State
from pipeline.dataset.mds import Pool
from pipeline.runner.context import Site
from pipeline.runner.indexes import write_indexes
from pipeline.runner.output_lock import finish, unpack_manifest
from pipeline.runner.shuffle.pool_order import order_pool
from pipeline.runner.task_cache import TaskRecord, describe_file
from pipeline.version import VERSION


def validation_identity(mixture: Mixture) -> str:
    """Return the fingerprint of a mixture's validation split. Pure."""
    return fingerprint([VALIDATION, mixture.fingerprint])


def write_validation(
    site: Site, state: State, records: dict[str, list[TaskRecord]], lock_digest: str | None
) -> dict[str, Any]:
    """Order what was set aside; return its files, its manifest included, as the build's.

    `state`: of the folder `validation/`.
    """
    unpack_manifest(state)
    made = [record for of_source in records.values() for record in of_source]
    pool_files = {
        path.removeprefix(f"{VALIDATION}/"): about
        for record in made
        for path, about in record["files"].items()
        if path.startswith(f"{VALIDATION}/")
    }
    folders = {
        name: [record["folder"] for record in of_source if record["chunks"]["validation"]]
        for name, of_source in records.items()
    }
    folders = {name: of_source for name, of_source in folders.items() if of_source}
    files = {**pool_files, **write_indexes(state, folders)}
    declared = _declared(site.mixture, state)
    order, ordered = order_pool(
        state,
        site.engine,
        state.out / TRAIN,
        declared,
        site.tokenizer,
        fingerprint([declared.declaration(), files]),
        validation_identity(site.mixture),
        site.memory_bytes,
    )
    manifest = {
        "format": FORMAT,
        "code": f"ettin-data {VERSION}",
        "mixture": {
            "name": f"{site.mixture.name}-{VALIDATION}",
            "fingerprint": validation_identity(site.mixture),
            "declaration": declared.declaration(),
            "overrides": list(site.mixture.overrides),
        },
        "lock": lock_digest,
        "tokenizer": site.tokenizer.describe(),
        "sources": {},
        "order": order,
        "files": {**files, **ordered},
    }
    finish(state, manifest)
    written = {**files, **ordered, MANIFEST: describe_file(state.out / MANIFEST)}
    return {f"{VALIDATION}/{path}": about for path, about in written.items()}


def _declared(mixture: Mixture, state: State) -> Replay:
    """Return how the rows are ordered: as in training, in steps that leave next to none over.

    A step has at least the rows of one in training, and all of them if there are fewer.
    """
    num_rows = int(Pool.open(state.out / TRAIN).num_rows.sum())
    num_steps = max(1, num_rows // mixture.order.global_batch_size)
    return Replay(
        phase=VALIDATION,
        tokenizer=mixture.tokenizer,
        order=replace(mixture.order, epoch=0, global_batch_size=max(1, num_rows // num_steps)),
        shards=mixture.shards,
    )
