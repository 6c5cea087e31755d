"""Build alone: some partitions of a mixture -> their shards and `partial.json`, without an order.

One input file thus settles how a phase was made, before terabytes of it are read. The shards are
those of the whole build, where no budget, holdout or other file has a say in them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.config import RAW, Mixture, closest
from pipeline.core.errors import ConfigError, OutputError
from pipeline.core.progress import ReportProgress
from pipeline.dataset import MANIFEST, PartialManifest, partial_identity
from pipeline.runner.cluster import Tls
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
    raw: Path = RAW,
    keeps_raw: bool = True,
    workers: int,
    scheduler: str | None,
    tls: Tls | None = None,
    report: ReportProgress,
    memory_bytes: int | None = None,
) -> PartialManifest:
    """Build partitions of a mixture, each named `source/partition`, and return their record.

    Only their files are read. Other arguments: as for `build`.

    Raises: ConfigError for partitions that are not there; else as `build`.
    """
    mixture, raw = replace(mixture, folder=mixture.folder.absolute()), raw.absolute()
    names = tuple(sorted(set(partitions)))
    alone = _by_source(mixture, names)
    # The holdout is chosen over all sources.
    narrowed = replace(
        mixture,
        sources=tuple(source for source in mixture.sources if source.name in alone),
        validation=None,
    )
    plan = make_plan(narrowed, lock, raw, out, alone)
    tokenizer = check_plan(plan)
    refuse_nested(out)
    if (out / MANIFEST).exists():
        raise OutputError(f"{out}: holds a whole build", "choose another --out for --partitions")
    with lock_output(out.absolute(), partial_identity(mixture.fingerprint, names)) as state:
        with open_context(
            plan,
            state,
            tokenizer,
            raw=raw,
            keeps_raw=keeps_raw,
            workers=workers,
            scheduler=scheduler,
            tls=tls,
            report=report,
            memory_bytes=memory_bytes,
        ) as context:
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
    """Return partitions by source. Raises: ConfigError for names of another form or source."""
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
    """Yield what may be otherwise in the whole build, which reads other files too."""
    meets = "stops at them" if mixture.on_error == "stop" else "keeps the first document of each"
    for one in plan.sources:
        where = f"sources.{one.source.name}"
        if one.takes_part:
            yield f"{where}: each chunk of these partitions is here once; the whole build samples"
        if one.num_others and one.source.origin.id is not None:
            yield (
                f"{where}: ids that recur in its {one.num_others:,} other partitions are not"
                f" noticed; the whole build {meets}"
            )
    if mixture.validation is not None:
        yield "validation: nothing is held out here; the whole build takes documents out"
    if mixture.dedup is not None:
        yield "dedup: copies are looked for in these partitions alone, not in all files"
