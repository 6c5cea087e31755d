"""Run: carries out a plan and writes the manifest; the only place where all stages meet.

mixture -> drawn shards of every partition -> indexes -> ordered rows -> manifest. Each stage is a
list of tasks from files to files; what an earlier run made and still stands is kept.
"""

import uuid
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from pipeline.config import RAW, Mixture
from pipeline.core.digest import fingerprint, sha256_bytes
from pipeline.core.errors import ConfigError
from pipeline.core.progress import ReportProgress
from pipeline.dataset import FORMAT, VALIDATION, Manifest, State
from pipeline.runner.cluster import open_cluster
from pipeline.runner.context import Site
from pipeline.runner.holdout_output import validation_identity, write_validation
from pipeline.runner.indexes import folders_of, write_indexes
from pipeline.runner.inputs import prepare
from pipeline.runner.order_samples import order_samples
from pipeline.runner.output_lock import acquire, finish, unpack_manifest
from pipeline.runner.plan import Plan, make_plan
from pipeline.runner.samples import make_samples
from pipeline.runner.shuffle.shuffle import default_memory_bytes
from pipeline.runner.source_counts import describe_source
from pipeline.runner.task_cache import files_of
from pipeline.runner.tasks.corpus_scan import find_drops
from pipeline.runner.tasks.tokenize_partition import cached_tokenizer
from pipeline.sources import Lock, check_tokenizer, lock_bytes, pull
from pipeline.version import VERSION


def build(
    mixture: Mixture,
    out: Path,
    *,
    lock: Lock | None = None,
    raw: Path = RAW,
    keeps_raw: bool = True,
    workers: int,
    scheduler: str | None,
    report: ReportProgress,
    memory_bytes: int | None = None,
) -> Manifest:
    """Build a mixture into a folder and return its manifest, which is also written there.

    `lock`: what is insisted on; none is needed where all files are local. `raw`: the folder of
    pulled files, where missing ones are pulled to; without `keeps_raw` they are not, and each is
    fetched for as long as it is read. `memory_bytes`: a pool of more is laid out by position on
    disk before it is written in order; by default half of what the machine has.

    Raises: PipelineError of the kind that says what to do next; then nothing half-written is left,
    and another run goes on from what is done.
    """
    # Workers may have been started in another folder.
    mixture, raw = replace(mixture, folder=mixture.folder.absolute()), raw.absolute()
    plan = make_plan(mixture, lock, raw)
    _check_locked(plan)
    folder = mixture.folder
    tokenizer = cached_tokenizer(mixture.tokenizer, folder)
    if plan.lock is not None:
        check_tokenizer(plan.lock.tokenizer, tokenizer.digest)
    memory = default_memory_bytes() if memory_bytes is None else memory_bytes
    with ExitStack() as stack:
        state = stack.enter_context(acquire(out.absolute(), mixture.fingerprint))
        aside = None
        if mixture.validation is not None:
            aside = stack.enter_context(
                acquire(state.out / VALIDATION, validation_identity(mixture))
            )
        if plan.lock is not None and keeps_raw:
            pull(plan.lock, folder, raw, report=report)
        with open_cluster(workers, scheduler, report) as engine:
            unpack_manifest(state)
            site = Site(
                mixture=mixture,
                mixture_folder=folder,
                state=state,
                engine=engine,
                tokenizer=tokenizer,
                memory_bytes=memory,
                keeps_raw=keeps_raw,
                run=uuid.uuid4().hex,
            )
            manifest = _build(site, plan, aside)
        return finish(state, manifest)


def _check_locked(plan: Plan) -> None:
    if plan.unlocked:
        raise ConfigError(
            f"sources.{plan.unlocked[0]}.from: is not on this machine, and the mixture is not "
            "locked",
            "find out once what there is: ettin-data lock MIXTURE; then build again",
        )


def _build(site: Site, plan: Plan, aside: State | None) -> Manifest:
    lock_digest = None if plan.lock is None else sha256_bytes(lock_bytes(plan.lock))
    corpus = find_drops(site, prepare(site, plan.sources))
    records = make_samples(site, corpus.sources)
    files = files_of([record for made in records.values() for record in made])
    pool_digest = fingerprint({path: about["sha256"] for path, about in files.items()})
    files.update(write_indexes(site.state, folders_of(records)))
    order, ordered_files = order_samples(site, records, pool_digest)
    files.update(ordered_files)
    files.update(corpus.files)
    if aside is not None:
        files.update(write_validation(site, aside, records, lock_digest))
    return {
        "format": FORMAT,
        "code": f"ettin-data {VERSION}",
        "mixture": {
            "name": site.mixture.name,
            "fingerprint": site.mixture.fingerprint,
            "declaration": site.mixture.declaration(),
            "overrides": list(site.mixture.overrides),
        },
        "lock": lock_digest,
        "tokenizer": site.tokenizer.describe(),
        "sources": {
            source.name: describe_source(source, records[source.name], site.mixture_folder)
            for source in corpus.sources
        },
        "evaluation": corpus.evaluation,
        "order": order,
        "files": files,
    }
