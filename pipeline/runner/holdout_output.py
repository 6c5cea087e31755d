"""Holdout output: the shards of the holdout -> an output of their own, with rows in order.

It lies in `validation/` and is like any other output: it can be verified, traced and fed.
"""

from dataclasses import replace

from pipeline.config import Mixture, Replay
from pipeline.core.digest import FileDigest, fingerprint
from pipeline.core.json_record import to_json
from pipeline.dataset import MANIFEST, TRAIN, VALIDATION, MixtureRecord, State
from pipeline.dataset.mds import Pool
from pipeline.runner.earlier_build import restore_records
from pipeline.runner.inputs import BuildContext
from pipeline.runner.order_rows import order_pool
from pipeline.runner.output_lock import finish, make_manifest
from pipeline.runner.output_tokenizer import copy_tokenizer
from pipeline.runner.plan import Plan
from pipeline.runner.sample_sources import Records, write_indexes


def holdout_identity(mixture: Mixture) -> str:
    """Return the fingerprint of a mixture's validation split. Pure."""
    return fingerprint([VALIDATION, mixture.fingerprint])


def write_holdout(
    context: BuildContext, state: State, samples: Records, plan: Plan
) -> dict[str, FileDigest]:
    """Order the holdout in `validation/`, of which `state` is; return its files and manifest."""
    restore_records(state)
    pool_files = {
        path.removeprefix(f"{VALIDATION}/"): file
        for records in samples.values()
        for record in records
        for path, file in record.files.items()
        if path.startswith(f"{VALIDATION}/")
    }
    held = {
        name: [record for record in records if record.chunks.validation]
        for name, records in samples.items()
    }
    indexes = write_indexes(
        state, {name: records for name, records in held.items() if records}, plan.partitions
    )
    files = {**pool_files, **indexes}
    declared = _declared(context.mixture, state)
    files_by_folder = _files_by_folder(context.mixture, held)
    identity = [declared.declaration(), to_json(files)]
    order, ordered = order_pool(
        state,
        context.cluster,
        state.out / TRAIN,
        declared,
        context.tokenizer,
        identity=fingerprint([*identity, files_by_folder] if files_by_folder else identity),
        owner=holdout_identity(context.mixture),
        memory_bytes=context.memory_bytes,
        hashes_all=context.hashes_all,
        files_by_folder=files_by_folder,
    )
    mixture = MixtureRecord(
        name=f"{context.mixture.name}-{VALIDATION}",
        fingerprint=holdout_identity(context.mixture),
        declaration=declared.declaration(),
        overrides=tuple(context.mixture.overrides),
    )
    files.update(ordered)
    files.update(copy_tokenizer(state, context.tokenizer))
    finish(state, make_manifest(mixture, plan.lock, context.tokenizer, order, files))
    files[MANIFEST] = FileDigest.of(state.out / MANIFEST)
    return {f"{VALIDATION}/{path}": file for path, file in files.items()}


def _files_by_folder(mixture: Mixture, held: Records) -> dict[str, list[tuple[str, int]]]:
    """Return the files, and the rows of each in the holdout, of folders not named after one."""
    grouped = {one.name for one in mixture.sources if one.origin.groups_files}
    return {
        record.folder.removeprefix(f"{TRAIN}/"): [
            (one.path, one.num_validation if record.more_inputs else record.chunks.validation)
            for one in record.inputs
        ]
        for source, records in held.items()
        if source in grouped
        for record in records
    }


def _declared(mixture: Mixture, state: State) -> Replay:
    """Return an order as in training, in steps of at least as many rows, to drop almost none."""
    num_rows = int(Pool.open(state.out / TRAIN).num_rows.sum())
    num_steps = max(1, num_rows // mixture.order.global_batch_size)
    return Replay(
        phase=VALIDATION,
        tokenizer=mixture.tokenizer,
        order=replace(
            mixture.order,
            epoch=0,
            global_batch_size=max(1, num_rows // num_steps),
            # The index of the holdout has them in this order already.
            partitions="sorted",
            listing=None,
            # Few, and read again and again.
            rows="written",
        ),
        shards=mixture.shards,
    )
