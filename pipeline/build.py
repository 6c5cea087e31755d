"""Build: carries out a plan and writes the manifest; the only place where all stages meet.

mixture -> chunks of every partition -> draws -> indexes -> order -> ordered rows -> manifest. Each
stage is a list of tasks from files to files; what an earlier run made and still stands is kept.
"""

import json
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline import sample
from pipeline.claim import claim, release, unpack_manifest
from pipeline.digest import fingerprint, sha256_bytes
from pipeline.drawing import DrawTask, StandingTask, draw_partition, standing_draw
from pipeline.duplicates import WrittenPartition, find_repeated_ids
from pipeline.engine import Engine, Report, open_engine
from pipeline.errors import DocumentError
from pipeline.files import publish
from pipeline.layout import MANIFEST, ORDER, STEPS, TRAIN, State
from pipeline.manifest import FORMAT, Manifest, manifest_bytes
from pipeline.mixture import Mixture
from pipeline.order import permutation
from pipeline.ordering import OrderTask, SavedOrder, order_rows
from pipeline.partition import PartitionTask, load_tokenizer, make_partition
from pipeline.plan import PlannedSource, make_plan
from pipeline.shards.mds import INDEX_NAME, index_bytes, merge_indexes
from pipeline.shards.parquet import write_steps
from pipeline.sources.read import SKIP_HINT
from pipeline.steps import split_files, split_windows, step_tokens
from pipeline.table import load_table
from pipeline.task import Record, describe_file
from pipeline.version import VERSION
from pipeline.view import view_lengths

_IDS_NAMED = 5
Result = TypeVar("Result")


class _OfSource(Protocol):
    @property
    def source(self) -> str: ...


def build(
    mixture: Mixture, out: Path, *, workers: int, scheduler: str | None, report: Report
) -> Manifest:
    """Build a mixture into a folder and return its manifest, which is also written there.

    Raises: PipelineError of the kind that says what to do next; then nothing half-written is left,
    and another run goes on from what is done.
    """
    plan = make_plan(mixture)
    with claim(out.absolute(), mixture) as state:
        with open_engine(workers, scheduler, report) as engine:
            unpack_manifest(state)
            manifest = _Build(mixture, state, engine).run(plan.sources)
        _remove_strangers(state.out, set(manifest["files"]))
        data = manifest_bytes(manifest)
        with publish(state.out / MANIFEST, state.scratch) as temporary:
            temporary.write_bytes(data)
        release(state)
    written: Manifest = json.loads(data)
    return written


class _Build:
    """One build under way."""

    def __init__(self, mixture: Mixture, state: State, engine: Engine) -> None:
        self._mixture = mixture
        self._state = state
        self._engine = engine
        self._run = uuid.uuid4().hex
        self._folder = mixture.folder.absolute()
        self._tokenizer = load_tokenizer(mixture.tokenizer, self._folder)

    def run(self, sources: tuple[PlannedSource, ...]) -> Manifest:
        records = self._make_shards(sources)
        files = _files([record for made in records.values() for record in made])
        pool_digest = fingerprint({path: about["sha256"] for path, about in files.items()})
        files.update(self._write_indexes(records))
        order, ordered_files = self._write_order(records, pool_digest)
        files.update(ordered_files)
        return {
            "format": FORMAT,
            "code": f"ettin-data {VERSION}",
            "mixture": {
                "name": self._mixture.name,
                "fingerprint": self._mixture.fingerprint,
                "declaration": self._mixture.declaration(),
                "overrides": list(self._mixture.overrides),
            },
            "tokenizer": {"name": self._tokenizer.name, "sha256": self._tokenizer.digest},
            "sources": {name: _describe_source(made) for name, made in records.items()},
            "order": order,
            "files": files,
        }

    # Chunks and draws

    def _make_shards(self, sources: tuple[PlannedSource, ...]) -> dict[str, list[Record]]:
        """Make the drawn shards of all sources; return their records, sorted by folder."""
        drawn_before = self._standing_draws([one for one in sources if one.is_sampled])
        to_chunk = [one for one in sources if one.source.name not in drawn_before]
        chunked = self._chunk(to_chunk)
        draws = [
            task
            for planned in to_chunk
            if planned.is_sampled
            for task in self._draw_tasks(planned, chunked[planned.source.name])
        ]
        drawn = _by_source(draws, self._engine.map("draw", draw_partition, draws))
        records = {**chunked, **drawn_before, **drawn}
        return {
            name: sorted(records[name], key=lambda record: str(record["folder"]))
            for name in sorted(records)
        }

    def _chunk(self, sources: list[PlannedSource]) -> dict[str, list[Record]]:
        """Chunk every partition; where ids recur in a source, refuse or drop the later ones."""
        tasks = [task for planned in sources for task in self._partition_tasks(planned)]
        records = _by_source(tasks, self._engine.map("chunk", make_partition, tasks))
        again = []
        for name, made in records.items():
            repeated = find_repeated_ids(
                {
                    record["partition"]: WrittenPartition(
                        folder=self._state.out / record["folder"],
                        hashes=load_table(self._state, record["folder"])["document"],
                    )
                    for record in made
                }
            )
            if repeated and self._mixture.on_error == "stop":
                raise _duplicates_error(name, repeated)
            if repeated:
                again += [_without_repeats(task, repeated) for task in tasks if task.source == name]
        if again:
            made_again = self._engine.map("drop repeated ids", make_partition, again)
            records.update(_by_source(again, made_again))
        return records

    def _partition_tasks(self, planned: PlannedSource) -> list[PartitionTask]:
        return [
            PartitionTask(
                out=self._state.out,
                folder=planned.chunks_folder(file, self._mixture),
                source=planned.source.name,
                file=file,
                origin=planned.source.origin,
                tokenizer=self._mixture.tokenizer,
                tokenizer_digest=self._tokenizer.digest,
                mixture_folder=self._folder,
                chunk=self._mixture.chunk,
                shards=self._mixture.shards,
                skips_bad=self._mixture.on_error == "skip",
            )
            for file in planned.files
        ]

    def _standing_draws(self, sources: list[PlannedSource]) -> dict[str, list[Record]]:
        """Return the earlier draws of those sources of which every partition still stands."""
        tasks = [
            StandingTask(
                out=self._state.out,
                source=planned.source.name,
                file=file,
                key=self._draw_key(planned),
                tokenizer=self._mixture.tokenizer,
                mixture_folder=self._folder,
            )
            for planned in sources
            for file in planned.files
        ]
        found = _by_source(tasks, self._engine.map("look for draws", standing_draw, tasks))
        return {
            name: [record for record in records if record is not None]
            for name, records in found.items()
            if None not in records
        }

    def _draw_tasks(self, planned: PlannedSource, records: list[Record]) -> list[DrawTask]:
        """Choose among all chunks of a source."""
        source = planned.source
        tables = {one["partition"]: load_table(self._state, one["folder"]) for one in records}
        lengths = {name: table["length"].astype(np.int64) for name, table in tables.items()}
        available = sum(int(part.sum()) for part in lengths.values())
        whole, beyond = sample.target_tokens(source.name, available, source.tokens, source.epochs)
        drawn = sample.draw(source.name, lengths, beyond, self._mixture.sample.seed)
        by_partition = {record["partition"]: record for record in records}
        return [
            DrawTask(
                out=self._state.out,
                folder=planned.folder(file, self._mixture),
                source=source.name,
                key=self._draw_key(planned),
                chunks=by_partition[file.partition],
                num_repetitions=whole,
                drawn=drawn[file.partition],
                shards=self._mixture.shards,
                tokenizer=self._mixture.tokenizer,
                mixture_folder=self._folder,
            )
            for file in planned.files
        ]

    def _draw_key(self, planned: PlannedSource) -> str:
        declared = self._mixture.declaration()
        return fingerprint(
            {
                "partitions": [task.key for task in self._partition_tasks(planned)],
                "source": declared["sources"][planned.source.name],
                "sample": declared["sample"],
            }
        )

    # Indexes

    def _write_indexes(self, records: dict[str, list[Record]]) -> dict[str, Any]:
        """Merge the indexes of folders into one a source, and those into one at the root."""
        files = {}
        merged = []
        for name, made in sorted(records.items()):
            parts = []
            for record in made:
                path = self._state.out / record["folder"] / INDEX_NAME
                parts.append((path.parent.name, json.loads(path.read_bytes())))
            index = merge_indexes(parts)
            data = index_bytes(index, merged=True)
            files.update(self._publish(f"{TRAIN}/{name}/{INDEX_NAME}", data))
            merged.append((name, index))
        root = index_bytes(merge_indexes(merged), merged=True)
        files.update(self._publish(f"{TRAIN}/{INDEX_NAME}", root))
        return files

    def _publish(self, name: str, data: bytes) -> dict[str, Any]:
        path = self._state.out / name
        if not (path.is_file() and path.read_bytes() == data):
            with publish(path, self._state.scratch) as temporary:
                temporary.write_bytes(data)
        return {name: describe_file(path)}

    # Order

    def _write_order(
        self, records: dict[str, list[Record]], pool_digest: str
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Order all rows and write them; return the manifest's part on it, and the files."""
        spec = self._mixture.order
        folders = [record["folder"] for _, made in sorted(records.items()) for record in made]
        table = np.concatenate([load_table(self._state, folder) for folder in folders])
        saved = self._save_order(table)
        row_tokens = saved.view_lengths[saved.rows].astype(np.int64)
        tokens = step_tokens(row_tokens, spec.global_batch_size)
        windows = split_windows(tokens, spec.window_tokens, self._mixture.phase)
        key = fingerprint(
            {
                "version": VERSION,
                "pool": pool_digest,
                "tokenizer": self._tokenizer.digest,
                "order": self._mixture.declaration()["order"],
            }
        )
        tasks = [
            OrderTask(
                out=self._state.out,
                file=file,
                key=key,
                run=self._run,
                batch_size=spec.global_batch_size,
                view=spec.view,
                cls_id=self._tokenizer.cls_id,
                sep_id=self._tokenizer.sep_id,
            )
            for window in windows
            for file in split_files(window)
        ]
        made = self._engine.map("order", order_rows, tasks)
        digests = [digest for record in made for digest in record["sha256"]]
        files = _files(made)
        files.update(self._write_steps(tokens, digests))
        num_rows = len(tokens) * spec.global_batch_size
        described = {
            "key": key,
            "algorithm": spec.algorithm,
            "seed": spec.seed,
            "epoch": spec.epoch,
            "view": spec.view,
            "num_samples": len(table),
            "num_steps": len(tokens),
            "num_rows": num_rows,
            "num_rows_dropped": len(table) - num_rows,
            "num_tokens": int(tokens.sum()),
            "num_tokens_dropped": int(row_tokens.sum() - tokens.sum()),
            "windows": [asdict(window) for window in windows],
            "root_sha256": sha256_bytes(b"".join(bytes.fromhex(digest) for digest in digests)),
        }
        return described, files

    def _save_order(self, table: NDArray[np.void]) -> SavedOrder:
        spec = self._mixture.order
        lengths = table["length"].astype(np.int64)
        viewed = view_lengths(
            lengths, table["has_cls"], table["has_sep"], spec.view, spec.max_seq_len
        )
        order = SavedOrder(
            rows=permutation(len(table), seed=spec.seed, epoch=spec.epoch),
            lengths=lengths.astype(np.uint32),
            view_lengths=viewed.astype(np.uint32),
        )
        order.save(self._state)
        return order

    def _write_steps(self, tokens: NDArray[np.int64], digests: list[str]) -> dict[str, Any]:
        made = self._state.root / STEPS
        num_rows = np.full(len(tokens), self._mixture.order.global_batch_size, np.int64)
        with publish(made, self._state.scratch) as temporary:
            write_steps(
                temporary,
                num_rows=num_rows,
                num_tokens=tokens,
                sha256=digests,
                origin=self._mixture.fingerprint,
            )
        return self._publish(STEPS, made.read_bytes())


def _by_source(tasks: Sequence[_OfSource], results: Sequence[Result]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {task.source: [] for task in tasks}
    for task, result in zip(tasks, results, strict=True):
        found[task.source].append(result)
    return found


def _files(records: list[Record]) -> dict[str, Any]:
    return {path: about for record in records for path, about in record["files"].items()}


def _without_repeats(task: PartitionTask, repeated: dict[str, list[str]]) -> PartitionTask:
    here = task.file.partition
    mine = {id_: where for id_, where in repeated.items() if here in where}
    return replace(
        task,
        repeated_ids=frozenset(mine),
        taken_ids=frozenset(id_ for id_, where in mine.items() if where[0] != here),
    )


def _duplicates_error(source: str, repeated: dict[str, list[str]]) -> DocumentError:
    named = "; ".join(
        f"{json.dumps(id_, ensure_ascii=False)} in {' and '.join(where)}"
        for id_, where in list(repeated.items())[:_IDS_NAMED]
    )
    more = f"; and {len(repeated) - _IDS_NAMED} more" if len(repeated) > _IDS_NAMED else ""
    return DocumentError(
        f"sources.{source}: got documents that share an id, expected ids unique in a source: "
        f"{named}{more}",
        f"write `id: null` below `from` to make ids; {SKIP_HINT}",
        "duplicate_id",
    )


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


def _remove_strangers(out: Path, known: set[str]) -> None:
    """Remove what an earlier build left in `train/` and `order/` and this one has not made."""
    for room in (out / TRAIN, out / ORDER):
        for path in sorted(room.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path.relative_to(out).as_posix() not in known:
                path.unlink()
