"""Holdout output: the shards of the holdout -> an output of their own, with rows in order.

It lies in `validation/` and is like any other output: it can be verified, traced and fed.
"""

from dataclasses import replace
from typing import Any

from pipeline.config import Mixture, Replay
from pipeline.core.digest import fingerprint
from pipeline.dataset import MANIFEST, TRAIN, VALIDATION, State, describe_file
from pipeline.dataset.mds import Pool
from pipeline.runner.inputs import BuildContext
from pipeline.runner.order_samples import order_pool
from pipeline.runner.output_lock import finish, restore_records
from pipeline.runner.samples import Records, write_indexes
from pipeline.version import VERSION


def holdout_identity(mixture: Mixture) -> str:
    """Return the fingerprint of a mixture's validation split. Pure."""
    return fingerprint([VALIDATION, mixture.fingerprint])


def write_holdout(
    context: BuildContext, state: State, samples: Records, lock_digest: str | None
) -> dict[str, Any]:
    """Order the holdout; return its files, its manifest included, as files of the build.

    `state`: of the folder `validation/`.
    """
    restore_records(state)
    pool_files = {
        path.removeprefix(f"{VALIDATION}/"): about
        for records in samples.values()
        for record in records
        for path, about in record["files"].items()
        if path.startswith(f"{VALIDATION}/")
    }
    held = {
        name: [record for record in records if record["chunks"]["validation"]]
        for name, records in samples.items()
    }
    indexes = write_indexes(state, {name: records for name, records in held.items() if records})
    files = {**pool_files, **indexes}
    declared = _declared(context.mixture, state)
    order, ordered = order_pool(
        state,
        context.cluster,
        state.out / TRAIN,
        declared,
        context.tokenizer,
        identity=fingerprint([declared.declaration(), files]),
        owner=holdout_identity(context.mixture),
        memory_bytes=context.memory_bytes,
    )
    manifest = {
        "code": f"ettin-data {VERSION}",
        "mixture": {
            "name": f"{context.mixture.name}-{VALIDATION}",
            "fingerprint": holdout_identity(context.mixture),
            "declaration": declared.declaration(),
            "overrides": list(context.mixture.overrides),
        },
        "lock": lock_digest,
        "tokenizer": context.tokenizer.describe(),
        "sources": {},
        "order": order,
        "files": {**files, **ordered},
    }
    finish(state, manifest)
    written = {**files, **ordered, MANIFEST: describe_file(state.out / MANIFEST)}
    return {f"{VALIDATION}/{path}": about for path, about in written.items()}


def _declared(mixture: Mixture, state: State) -> Replay:
    """Return how the rows are ordered: as in training, in steps that leave almost none over.

    A step has at least the rows of one in training, or all rows if there are fewer.
    """
    num_rows = int(Pool.open(state.out / TRAIN).num_rows.sum())
    num_steps = max(1, num_rows // mixture.order.global_batch_size)
    return Replay(
        phase=VALIDATION,
        tokenizer=mixture.tokenizer,
        order=replace(mixture.order, epoch=0, global_batch_size=max(1, num_rows // num_steps)),
        shards=mixture.shards,
    )
