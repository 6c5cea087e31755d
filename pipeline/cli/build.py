"""`ettin-data build`."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pipeline.cli.arguments import (
    Arguments,
    Verbs,
    add_verb,
    checked,
    cluster_options,
    find_lock,
    load_mixture,
    lock_path,
    open_out,
    open_raw,
    record_pulled,
)
from pipeline.cli.output import print_manifest, print_part, print_partial
from pipeline.cli.shown_progress import say_compiling, say_next, show_progress
from pipeline.config import RAW, Mixture, Replay
from pipeline.core.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.core.progress import ReportProgress
    from pipeline.dataset import Manifest, PartitionRecord
    from pipeline.sources import Lock, PoolLayout


def add(verbs: Verbs) -> None:
    options = add_verb(
        verbs,
        "build",
        run,
        "build ordered shards from a mixture",
        "Downloads missing files first. Run it again with the same --out to resume.",
        examples=(
            "ettin-data build letters.yaml --out letters",
            "ettin-data build sample --out sample-decoder --set order.view=decoder",
            "ettin-data build letters.yaml --out letters-v2 --set chunk.size=512 --cache chunks",
        ),
        guide="docs/guide/custom-mixture.md#write-a-mixture",
    )
    options.add_mixture()
    options.add_allow_code()
    options.add_cluster()
    options.add_out()
    what = "folder of downloaded input files, or an address in an object store"
    options.add_place("--raw DIR", what, RAW)
    what = "download each input file when it is read and delete it afterwards, to save disk space"
    options.add("--no-keep-raw", what)
    what = "folder or address of chunks that builds share: reuse those there, add the others"
    options.add_place("--cache DIR", what)
    what = "build only the shards of these partitions, such as pes2o/pes2o_0005,…; repeatable"
    options.add("--partitions NAMES", what, _names, action="extend")
    what = "run only this stage, as in a job array; a build without --stage continues from there"
    options.add("--stage {scan,chunk}", what)
    what = "run the I-th of N parts of --stage; parts may run at the same time, in any order"
    options.add("--part I/N", what, checked(_part, "I/N with I from 1 to N, such as 3/16"))
    options.add_progress()


def _part(text: str) -> tuple[int, int]:
    index, of = text.split("/")
    if not (index.isdecimal() and of.isdecimal() and 1 <= int(index) <= int(of)):
        raise ValueError(text)
    return int(index), int(of)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def run(parsed: Arguments) -> int:
    from pipeline.runner import build

    mixture = load_mixture(parsed)
    if parsed.stage is not None or parsed.part is not None:
        return _build_part(parsed, mixture)
    if parsed.partitions is not None:
        return _build_alone(parsed, mixture)
    started = time.monotonic()
    with (
        show_progress(parsed, parsed.out) as report,
        say_compiling(as_json=parsed.json_progress),
        open_out(parsed),
        open_raw(parsed),
    ):
        if isinstance(mixture, Replay):
            manifest = _replay_pool(parsed, mixture, report)
        else:
            lock = find_lock(parsed, mixture)
            manifest = build(
                mixture, parsed.folder, lock=lock, report=report, **_build_options(parsed)
            )
            records = [part for one in manifest.sources.values() for part in one.partitions]
            _record_pulled(parsed, mixture, lock, records)
    print_manifest(parsed, manifest, time.monotonic() - started, "built")
    say_next(parsed, ["verify", parsed.out], ["show", parsed.out])
    return 0


def _build_alone(parsed: Arguments, mixture: Mixture | Replay) -> int:
    """Make some partitions alone."""
    from pipeline.runner import archives_alone, build_alone

    started, names = time.monotonic(), parsed.partitions
    with show_progress(parsed, parsed.out) as report, open_out(parsed), open_raw(parsed):
        options = {"report": report, **_build_options(parsed)}
        if isinstance(mixture, Replay):
            lock, layout = _pool_of(parsed, mixture)
            if not layout.archives:
                raise ConfigError(
                    f"--partitions: got {mixture.name}, a pool of MDS shards, expected one of"
                    " archives, whose shards are to be made",
                    "leave it out; attest checks the shards that are there",
                )
            made = archives_alone(mixture, names, parsed.folder, lock=lock, **options)
        else:
            found = find_lock(parsed, mixture)
            made = build_alone(mixture, names, parsed.folder, lock=found, **options)
            records = [record for of_source in made.sources.values() for record in of_source]
            _record_pulled(parsed, mixture, found, records)
    print_partial(parsed, made, time.monotonic() - started)
    say_next(parsed, ["verify", parsed.out])
    return 0


def _build_part(parsed: Arguments, mixture: Mixture | Replay) -> int:
    """Make a part of a stage, all of it where none is named."""
    from pipeline.runner import Part, build_part, join_scan
    from pipeline.storage import is_store_address

    if parsed.stage is None:
        raise ConfigError("--part: expected --stage with it", "give --stage chunk")
    if parsed.partitions is not None:
        raise ConfigError("--stage: got --partitions too, expected one of them")
    if parsed.update:
        raise ConfigError(
            "--stage: got --update too, but parts begin with nothing of another mixture",
            "build with --update, without --stage",
        )
    if isinstance(mixture, Replay):
        raise ConfigError(
            f"--stage: got {mixture.name}, a pool, expected a mixture, whose chunks are to be made",
            "leave it out",
        )
    if is_store_address(parsed.out):
        raise ConfigError(
            f"--stage: got --out {parsed.out}, expected a folder that all parts share",
            "use --scheduler, whose workers need no such folder",
        )
    started, part = time.monotonic(), Part(*(parsed.part or (1, 1)))
    with show_progress(parsed, parsed.out) as report, open_raw(parsed):
        options = {"report": report, **_build_options(parsed)}
        lock = find_lock(parsed, mixture)
        if parsed.stage == "scan" and parsed.part is None:
            made = join_scan(mixture, parsed.out, lock=lock, **options)
        else:
            made = build_part(mixture, parsed.stage, part, parsed.out, lock=lock, **options)
    print_part(parsed, made, time.monotonic() - started)
    return 0


def _build_options(parsed: Arguments) -> dict[str, Any]:
    files = {"raw": parsed.raw, "keeps_raw": not parsed.no_keep_raw, "cache": parsed.cache}
    return {**files, "allows_code": parsed.allow_code, **cluster_options(parsed)}


def _record_pulled(
    parsed: Arguments, mixture: Mixture, lock: "Lock | None", records: "Iterable[PartitionRecord]"
) -> None:
    """Add to the lock the sha256 of each file that was locked by an ETag, as it was read."""
    if lock is None:
        return
    inputs = [one for record in records for one in record.inputs]
    found = {
        (one.path, one.locked): one.sha256
        for one in inputs
        if one.locked is not None and one.locked.startswith("etag:")
    }
    record_pulled(lock_path(parsed, mixture), found)


def _replay_pool(parsed: Arguments, replay: Replay, report: "ReportProgress") -> "Manifest":
    """Download a published pool if needed, make its shards if it has none, and order its rows."""
    from pipeline.runner import pool_folder, replay_archives, replay_pool
    from pipeline.sources import plan_download, pull

    lock, layout = _pool_of(parsed, replay)
    if layout.archives:
        options = _build_options(parsed)
        return replay_archives(replay, parsed.folder, lock=lock, report=report, **options)
    if parsed.no_keep_raw:
        raise ConfigError(
            "--no-keep-raw: got a pool of MDS shards, whose rows are not read in the order of its"
            " files",
            "leave it out",
        )
    if parsed.cache is not None:
        raise ConfigError(
            "--cache: got a pool of MDS shards, of which no chunks are made", "leave it out"
        )
    pull(plan_download(lock, replay.folder, parsed.raw), report)
    return replay_pool(
        pool_folder(lock, replay, parsed.raw),
        parsed.folder,
        replay,
        lock=lock,
        raw=parsed.raw,
        report=report,
        **cluster_options(parsed),
    )


def _pool_of(parsed: Arguments, replay: Replay) -> "tuple[Lock, PoolLayout]":
    """Return the lock of a pool and what it is made of. Raises: ConfigError without a lock."""
    from pipeline.sources import POOL, PoolLayout, check_sources

    lock = find_lock(parsed, replay)
    if lock is None:
        raise ConfigError("pool: is not locked", "lock it first: ettin-data lock MIXTURE")
    check_sources(lock, replay)
    return lock, PoolLayout.of(lock.sources[POOL])
