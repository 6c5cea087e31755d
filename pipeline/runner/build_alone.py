"""Build alone: some partitions of a mixture -> their shards and `partial.json`, without an order.

So the rows of one input file can be compared with published ones before terabytes are read. The
shards equal those of the whole build unless a budget, a holdout or another file changes them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from pipeline.config import RAW, Mixture, closest
from pipeline.core.errors import ConfigError, OutputError
from pipeline.dataset import MANIFEST, PartialManifest, partial_identity
from pipeline.runner.build_options import BuildOptions
from pipeline.runner.output_lock import (
    describe_mixture,
    describe_tokenizer,
    finish_partial,
    lock_output,
    refuse_nested,
    without_digests,
)
from pipeline.runner.output_tokenizer import copy_tokenizer
from pipeline.runner.plan import Plan, make_plan
from pipeline.runner.sampled_shards import check_plan, make_shards, open_context
from pipeline.runner.task_cache import files_of
from pipeline.sources import Lock, lock_digest
from pipeline.version import VERSION


def build_alone(
    mixture: Mixture,
    partitions: Sequence[str],
    out: Path,
    *,
    lock: Lock | None = None,
    **options: Unpack[BuildOptions],
) -> PartialManifest:
    """Build the named partitions of a mixture, as `source/partition`; return their record.

    Only their input files are read. All chunks are written, whatever the budget of the source.

    Raises: ConfigError for an unknown partition; OutputError for a folder that holds anything else;
    otherwise as `build`.
    """
    mixture = replace(mixture, folder=mixture.folder.absolute())
    options["raw"] = options.get("raw", RAW).absolute()
    names = tuple(sorted(set(partitions)))
    alone = _by_source(mixture, names)
    # What is held out depends on files that are not read.
    narrowed = replace(
        mixture,
        sources=tuple(source for source in mixture.sources if source.name in alone),
        validation=None,
    )
    plan = make_plan(narrowed, lock, options["raw"], out, alone)
    tokenizer = check_plan(plan, allows_code=options.get("allows_code", False))
    refuse_nested(out, options.get("cache"))
    if (out / MANIFEST).exists():
        raise OutputError(f"{out}: holds a whole build", "choose another --out for --partitions")
    identity = partial_identity(mixture.fingerprint, names)
    with lock_output(out.absolute(), identity, updates=options.get("updates", False)) as state:
        with open_context(plan, state, tokenizer, **options) as context:
            made = make_shards(context, plan)
        files = files_of(record for records in made.records.values() for record in records)
        files.update({**made.copies, **copy_tokenizer(state, tokenizer)})
        manifest = PartialManifest(
            code=f"ettin-data {VERSION}",
            mixture=describe_mixture(mixture),
            lock=None if plan.lock is None else lock_digest(plan.lock),
            tokenizer=describe_tokenizer(tokenizer),
            partitions=names,
            differences=tuple(_differences(mixture, plan)),
            sources={
                name: tuple(map(without_digests, records)) for name, records in made.records.items()
            },
            files=files,
        )
        return finish_partial(state, manifest)


def _by_source(mixture: Mixture, names: Sequence[str]) -> Mapping[str, list[str]]:
    """Group partitions by source. Raises: ConfigError for a malformed name or unknown source."""
    if mixture.scale != 1:
        raise ConfigError(
            f"--partitions: got them with scale {mixture.scale}, expected scale 1: they are made"
            " whole"
        )
    known = [source.name for source in mixture.sources]
    alone: dict[str, list[str]] = {}
    for name in names:
        source, _, partition = name.partition("/")
        if source not in known or not partition:
            raise ConfigError(
                f'--partitions: got "{name}", expected source/partition, with one of the sources'
                f" {', '.join(known)}{closest(source, known) if source not in known else ''}"
            )
        alone.setdefault(source, []).append(partition)
    return alone


def _differences(mixture: Mixture, plan: Plan) -> Iterator[str]:
    """Yield a line for each reason why the whole build may write other rows."""
    # Lines of one document share its id.
    has_ids = mixture.chunk.algorithm != "ettin-line-v1"
    meets = "stops at them" if mixture.on_error == "stop" else "keeps the first document of each"
    for one in plan.sources:
        where = f"sources.{one.source.name}"
        if one.takes_part:
            yield f"{where}: each chunk of these partitions is here once; the whole build samples"
        if has_ids and one.num_others and one.source.origin.id is not None:
            yield (
                f"{where}: ids that recur in its {one.num_others:,} other partitions are not"
                f" noticed; the whole build {meets}"
            )
    if mixture.validation is not None:
        yield "validation: nothing is held out here; the whole build takes documents out"
    if mixture.dedup is not None:
        yield "dedup: copies are looked for in these partitions alone, not in all files"
