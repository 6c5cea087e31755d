"""Corpus scan: all documents that pass the filters are compared before any is chunked.

Each task makes a table of the documents of each file of a partition. Over all tables, copies of an
earlier document and documents that contain evaluation texts are found, and saved with what the
filters dropped.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.config import DecontaminateSpec, MinHashSpec, to_plain
from pipeline.core.digest import FileDigest, fingerprint, sha256_file
from pipeline.core.errors import ConfigError, DocumentError
from pipeline.core.files import publish, read_array, save_array
from pipeline.core.progress import Work, measured
from pipeline.dataset import EvaluationCounts, State, copies_file
from pipeline.runner.inputs import BuildContext, PreparedSource, input_bytes
from pipeline.runner.output_as_input import refuse_output
from pipeline.runner.task_cache import ScannedInput, ScanRecord, load_cached, log_trusted, recording
from pipeline.runner.tasks.read_documents import (
    DROP_DTYPE,
    DocumentReader,
    DropList,
    Input,
    bad_document,
    declare_inputs,
    load_cached_for,
    stop_at_bad,
)
from pipeline.sources import FileReader, list_files
from pipeline.stages import dedup
from pipeline.stages.dedup import Contamination, ScannedFile
from pipeline.version import VERSION

_DROPS = "drops"


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanTask:
    """Everything that the scans of a partition's files are made from."""

    out: Path
    partition: str
    inputs: tuple[Input, ...]
    minhash: MinHashSpec | None
    ngrams: Path | None
    """The n-grams of evaluation texts."""
    ngrams_digest: str | None
    ngram_words: int
    skips_bad: bool
    """Whether bad documents are left for the next stage to count, instead of stopping here."""
    hashes_all: bool
    """Whether files of an earlier run are read, as `load_cached` says."""

    @property
    def name(self) -> str:
        return f"surveys/{self.inputs[0].source}/{self.partition}"

    @property
    def key(self) -> str:
        """Fingerprint of all that decides the tables except the bytes of the inputs."""
        return fingerprint(
            {
                "version": VERSION,
                "input": declare_inputs(self.inputs),
                "minhash": to_plain(self.minhash),
                "ngrams": [self.ngrams_digest, self.ngram_words],
            }
        )


@measured(lambda task, record: Work(num_bytes=input_bytes(task)))
def scan_files(task: ScanTask) -> ScanRecord:
    """Make a table of each file's documents, if it is not cached. Raises: as `make_partition`."""
    state = State(out=task.out)
    record = load_cached_for(
        task.inputs, state, task.name, task.key, ScanRecord, hashes_all=task.hashes_all
    )
    if record is not None:
        return record
    with recording(state, task.name) as save:
        files: dict[str, FileDigest] = {}
        inputs = tuple(_scan(task, one, state, files) for one in task.inputs)
        record = ScanRecord(key=task.key, inputs=inputs, files=files)
        save(record)
    return record


def _scan(
    task: ScanTask, input_: Input, state: State, files: dict[str, FileDigest]
) -> ScannedInput:
    """Save the table of a file's documents, and what the filters drop; add both to `files`."""
    name = input_.source, input_.file.partition
    dropped: dict[int, str] = {}
    reader = DocumentReader(input_, _skip if task.skips_bad else stop_at_bad)
    batches = _batches(task, input_, reader, state, dropped)
    scan, filtered = state.scan(*name), state.filtered(*name)
    written = {scan: dedup.save_scan(scan, state.scratch, task.minhash, batches)}
    names = sorted(set(dropped.values()))
    reasons, written[filtered] = _save_reasons(
        filtered,
        state,
        np.fromiter(dropped, np.uint32),
        np.fromiter(map(names.index, dropped.values()), np.uint16),
        names,
    )
    files.update({path.relative_to(task.out).as_posix(): one for path, one in written.items()})
    return ScannedInput(sha256=reader.sha256, locked=input_.locked_digest, reasons=tuple(reasons))


def _skip(error: DocumentError) -> None:
    """Go on: the stage that chunks documents finds it again, and counts it."""


def _batches(
    task: ScanTask,
    input_: Input,
    reader: DocumentReader,
    state: State,
    dropped: dict[int, str],
) -> Iterator[pa.RecordBatch]:
    contamination = None
    if task.ngrams is not None:
        contamination = _contamination(task.ngrams, str(task.ngrams_digest), task.ngram_words)
    for kept, block_dropped in reader.blocks(state):
        for one in block_dropped:
            if one.fault is not None and not task.skips_bad:
                where = input_.file.declared
                raise bad_document(where, one.document, one.reason, one.fault)
        dropped.update({one.document.row: one.reason for one in block_dropped})
        yield dedup.scan_documents(kept, task.minhash, contamination)


@lru_cache(maxsize=1)
def _contamination(path: Path, digest: str, ngram_words: int) -> Contamination:
    """Load the n-grams once in a process; `digest` keeps those of another build apart."""
    return Contamination.load(path, ngram_words)


def scan_corpus(
    context: BuildContext, sources: Sequence[PreparedSource]
) -> tuple[list[PreparedSource], EvaluationCounts | None, dict[str, FileDigest]]:
    """Find the documents to drop because of others, where the mixture asks for it.

    Return the sources with what to drop, the counts of evaluation texts, and the files of copies.
    """
    mixture = context.mixture
    if mixture.dedup is None and mixture.decontaminate is None:
        return list(sources), None, {}
    evaluation, tasks = scan_tasks(context, sources)
    records = context.cluster.map_by_size("scan", scan_files, tasks, input_bytes)
    log_trusted(records)
    inputs = [(one, read) for task, record in zip(tasks, records, strict=True)
              for one, read in zip(task.inputs, record.inputs, strict=True)]  # fmt: skip
    names = [(one.source, one.file.partition) for one, _ in inputs]
    scanned = [
        ScannedFile(source=source, file=file, path=context.state.scan(source, file))
        for source, file in names
    ]
    memory_bytes = dedup.bucket_bytes(context.memory_bytes)
    found = dedup.find_drops(
        scanned, mixture.dedup, context.state.scratch, memory_bytes=memory_bytes
    )
    drops: dict[tuple[str, str], DropList] = {}
    digests: dict[tuple[str, str], str] = {}
    files: dict[str, FileDigest] = {}
    saved: dict[str, FileDigest] = {}
    out, scratch = context.state.out, context.state.scratch
    with recording(context.state, _DROPS) as save:
        for name, (_, read), one in zip(names, inputs, found, strict=True):
            drops[name], written = _save_drops(context, name, read, one)
            saved[_drops_path(context.state, name)] = written
            digests[name] = read.sha256
            if len(one.rows):
                path = copies_file(*name)
                files[path] = dedup.save_drops(out / path, scratch, one)
        reads = [
            replace(read, reasons=drops[name].reasons)
            for name, (_, read) in zip(names, inputs, strict=True)
        ]
        key = _drops_key(context, tasks)
        save(ScanRecord(key=key, inputs=tuple(reads), files={**saved, **files}))
    return _with_drops(sources, drops, digests), evaluation, files


def with_saved_drops(
    context: BuildContext, all_sources: Sequence[PreparedSource], sources: Sequence[PreparedSource]
) -> list[PreparedSource]:
    """Return sources with what to drop, as a scan of the files of all sources has saved it.

    Raises: ConfigError where none has, of these files.
    """
    _, tasks = scan_tasks(context, all_sources)
    key, state = _drops_key(context, tasks), context.state
    record = load_cached(state, _DROPS, key, ScanRecord, hashes_all=context.hashes_all)
    if record is None:
        raise ConfigError(
            f"{state.out}: got no scan of all files, on which the chunks of a mixture with dedup or"
            " decontaminate depend",
            "run all parts of --stage scan, then --stage scan without --part; after that, this",
        )
    names = [(one.source, one.file.partition) for task in tasks for one in task.inputs]
    digests = {name: read.sha256 for name, read in zip(names, record.inputs, strict=True)}
    drops = {
        name: DropList(
            path=state.drops(*name),
            digest=record.files[_drops_path(state, name)].sha256,
            reasons=read.reasons,
        )
        for name, read in zip(names, record.inputs, strict=True)
    }
    return _with_drops(sources, drops, digests)


def _drops_path(state: State, name: tuple[str, str]) -> str:
    return state.drops(*name).relative_to(state.out).as_posix()


def _drops_key(context: BuildContext, tasks: Sequence[ScanTask]) -> str:
    """Return the fingerprint of all that decides what is dropped except the bytes of the inputs."""
    return fingerprint([to_plain(context.mixture.dedup), *(task.key for task in tasks)])


def _with_drops(
    sources: Sequence[PreparedSource],
    drops: Mapping[tuple[str, str], DropList],
    digests: Mapping[tuple[str, str], str],
) -> list[PreparedSource]:
    """Return sources with what to drop of each file, and the digest of what was read of it."""
    return [
        replace(
            source,
            inputs={
                partition: tuple(
                    replace(one, drops=drops[name], read_before=digests[name])
                    for one in inputs
                    for name in [(source.name, one.file.partition)]
                )
                for partition, inputs in source.inputs.items()
            },
        )
        for source in sources
    ]


def scan_tasks(
    context: BuildContext, sources: Sequence[PreparedSource]
) -> tuple[EvaluationCounts | None, list[ScanTask]]:
    """Save what the tasks read beside their files; return the counts of that, and the tasks."""
    return _read_evaluation(context), _tasks(context, sources)


def _read_evaluation(context: BuildContext) -> EvaluationCounts | None:
    """Save the n-grams of evaluation texts for the tasks; return how many texts there are."""
    spec = context.mixture.decontaminate
    if spec is None:
        return None
    texts = _evaluation_texts(spec, context.mixture.folder, context.state.out)
    evaluation = dedup.read_evaluation(texts, spec.ngram_words)
    dedup.save_ngrams(context.state.evaluation, context.state.scratch, evaluation)
    return EvaluationCounts(
        num_texts=evaluation.num_texts,
        num_short=evaluation.num_short,
        num_wordless=evaluation.num_wordless,
    )


def _tasks(context: BuildContext, sources: Sequence[PreparedSource]) -> list[ScanTask]:
    mixture = context.mixture
    ngrams = None if mixture.decontaminate is None else context.state.evaluation
    ngrams_digest = None if ngrams is None else sha256_file(ngrams)
    return [
        ScanTask(
            out=context.state.out,
            partition=partition,
            inputs=inputs,
            minhash=None if mixture.dedup is None else mixture.dedup.minhash,
            ngrams=ngrams,
            ngrams_digest=ngrams_digest,
            ngram_words=mixture.decontaminate.ngram_words if mixture.decontaminate else 0,
            skips_bad=mixture.on_error == "skip",
            hashes_all=context.hashes_all,
        )
        for source in sources
        for partition, inputs in source.inputs.items()
    ]


def _evaluation_texts(spec: DecontaminateSpec, folder: Path, out: Path) -> Iterator[str]:
    """Yield the texts of an evaluation. Raises: as the reading of a source, whatever is bad."""
    files = list_files("decontaminate", spec.path, folder, "path")
    refuse_output("decontaminate.path", spec.path, folder, files, out)
    for file in files:
        reader = FileReader(file, text_field=spec.text, id_field=None)
        for block in reader.blocks(stop_at_bad):
            yield from (document.text for document in block)


def _save_drops(
    context: BuildContext, name: tuple[str, str], read: ScannedInput, found: dedup.DroppedRows
) -> tuple[DropList, FileDigest]:
    """Save what is dropped of one file, by the filters and by the scan."""
    filtered = read_array(context.state.filtered(*name))
    path = context.state.drops(*name)
    reasons, written = _save_reasons(
        path,
        context.state,
        np.concatenate([filtered["row"], found.rows]),
        np.concatenate([filtered["reason"], found.reasons + np.uint16(len(read.reasons))]),
        [*read.reasons, *dedup.REASONS],
    )
    return DropList(path=path, digest=written.sha256, reasons=tuple(reasons)), written


def _save_reasons(
    path: Path,
    state: State,
    rows: NDArray[np.uint32],
    reasons: NDArray[np.uint16],
    names: Sequence[str],
) -> tuple[list[str], FileDigest]:
    """Save rows with the numbers of their reasons, unsynced; return the reasons and the digest.

    rows: uint32 [num_rows], each once; reasons: uint16 [num_rows], indices into `names`.
    """
    present = sorted({names[number] for number in np.unique(reasons).tolist()})
    numbers = np.array([present.index(name) if name in present else 0 for name in names], np.uint16)
    order = np.argsort(rows)
    saved = np.empty(len(rows), DROP_DTYPE)
    saved["row"], saved["reason"] = rows[order], numbers[reasons[order]]
    with publish(path, state.scratch, syncs=False) as temporary:
        written = save_array(temporary, saved)
    return present, written
