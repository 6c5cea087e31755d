"""Run: carries out a plan and writes the manifest; the only place where all stages meet.

mixture -> drawn shards of every partition -> indexes -> ordered rows -> manifest. Each stage is a
list of tasks from files to files; what an earlier run made and still stands is kept.
"""

import json
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

from pipeline.build.order import order_samples
from pipeline.build.partition import load_tokenizer
from pipeline.build.samples import make_samples
from pipeline.build.site import Site
from pipeline.claim import claim, finish, unpack_manifest
from pipeline.digest import fingerprint
from pipeline.engine import Report, open_engine
from pipeline.layout import TRAIN
from pipeline.manifest import FORMAT, Manifest
from pipeline.mixture import Mixture
from pipeline.ordering.stage import default_memory_bytes
from pipeline.plan import Plan, make_plan
from pipeline.shards.mds import INDEX_NAME, index_bytes, merge_indexes
from pipeline.task import Record, files_of, publish_output
from pipeline.version import VERSION


def build(
    mixture: Mixture,
    out: Path,
    *,
    workers: int,
    scheduler: str | None,
    report: Report,
    memory_bytes: int | None = None,
) -> Manifest:
    """Build a mixture into a folder and return its manifest, which is also written there.

    `memory_bytes`: a pool of more is laid out by position on disk before it is written in order;
    by default half of what the machine has.

    Raises: PipelineError of the kind that says what to do next; then nothing half-written is left,
    and another run goes on from what is done.
    """
    plan = make_plan(mixture)
    folder = mixture.folder.absolute()
    tokenizer = load_tokenizer(mixture.tokenizer, folder)
    with claim(out.absolute(), mixture.fingerprint) as state:
        with open_engine(workers, scheduler, report) as engine:
            unpack_manifest(state)
            site = Site(
                mixture=mixture,
                mixture_folder=folder,
                state=state,
                engine=engine,
                tokenizer=tokenizer,
                memory_bytes=default_memory_bytes() if memory_bytes is None else memory_bytes,
                run=uuid.uuid4().hex,
            )
            manifest = _build(site, plan)
        return finish(state, manifest)


def _build(site: Site, plan: Plan) -> Manifest:
    records = make_samples(site, plan.sources)
    files = files_of([record for made in records.values() for record in made])
    pool_digest = fingerprint({path: about["sha256"] for path, about in files.items()})
    files.update(_write_indexes(site, records))
    order, ordered_files = order_samples(site, records, pool_digest)
    files.update(ordered_files)
    return {
        "format": FORMAT,
        "code": f"ettin-data {VERSION}",
        "mixture": {
            "name": site.mixture.name,
            "fingerprint": site.mixture.fingerprint,
            "declaration": site.mixture.declaration(),
            "overrides": list(site.mixture.overrides),
        },
        "tokenizer": site.tokenizer.describe(),
        "sources": {name: _describe_source(made) for name, made in records.items()},
        "order": order,
        "files": files,
    }


def _write_indexes(site: Site, records: dict[str, list[Record]]) -> dict[str, Any]:
    """Merge the indexes of folders into one a source, and those into one at the root."""
    files = {}
    merged = []
    for name, made in sorted(records.items()):
        parts = []
        for record in made:
            path = site.state.out / record["folder"] / INDEX_NAME
            parts.append((path.parent.name, json.loads(path.read_bytes())))
        index = merge_indexes(parts)
        data = index_bytes(index, merged=True)
        files.update(publish_output(site.state, f"{TRAIN}/{name}/{INDEX_NAME}", data))
        merged.append((name, index))
    root = index_bytes(merge_indexes(merged), merged=True)
    files.update(publish_output(site.state, f"{TRAIN}/{INDEX_NAME}", root))
    return files


def _describe_source(records: list[Record]) -> dict[str, Any]:
    """Sum a source's counts and keep what each partition says of itself."""
    documents: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    chunks: Counter[str] = Counter()
    for record in records:
        documents.update({"in": record["documents"]["in"], "kept": record["documents"]["kept"]})
        dropped.update(record["documents"]["dropped"])
        tokens.update(record["tokens"])
        chunks.update(record["chunks"])
    return {
        "documents": {**documents, "dropped": dict(sorted(dropped.items()))},
        "tokens": dict(tokens),
        "chunks": dict(chunks),
        "partitions": [{**record, "files": sorted(record["files"])} for record in records],
    }
