"""Earlier build: a finished output's manifest -> the task records that its build left.

A second build goes on from them, or from those of one that was stopped, and keeps what is intact.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from itertools import chain

from pipeline.core.errors import (
    ConfigError,
    DocumentError,
    InternalError,
    MismatchError,
    NetworkError,
    OutputError,
    PipelineError,
    causes_of,
    is_interrupt,
    lacks_files,
    lacks_memory,
)
from pipeline.core.files import writing
from pipeline.core.json_record import ABSENT
from pipeline.core.mirrored import remove_file, remove_folder
from pipeline.dataset import (
    DOCUMENTS,
    MANIFEST,
    ORDER,
    PARTIAL,
    PROVENANCE,
    STEPS,
    Manifest,
    PartialManifest,
    PartitionCounts,
    PartitionRecord,
    State,
    provenance_file,
    read_manifest,
    read_partial,
    split_files,
)
from pipeline.dataset.parquet import read_steps
from pipeline.runner.task_cache import (
    AnyRecord,
    OrderFileRecord,
    PartitionOutput,
    TaskRecord,
    restore_all,
)


@contextmanager
def resuming(state: State, *, hashes_all: bool) -> Iterator[bool]:
    """Go on with an earlier build; yield whether all its files are to be hashed.

    They are, too, after a run that trusted some and failed: it may have met damage that nothing
    showed. Raises: OutputError in place of an error that no intact file leads to.
    """
    restore_records(state)
    hashes_all = hashes_all or state.distrust.exists()
    trusts = not hashes_all and state.records.exists()
    try:
        yield hashes_all
    except (ConfigError, DocumentError, NetworkError):
        raise
    except Exception as error:
        no_damage = (is_interrupt, lacks_memory, lacks_files)
        if not trusts or any(is_one(cause) for cause in causes_of(error) for is_one in no_damage):
            raise
        with suppress(OSError):
            state.distrust.touch()
        is_expected = isinstance(error, PipelineError | OSError)
        if is_expected and not isinstance(error, InternalError):
            raise
        raise OutputError(
            f"{state.out}: got files of an earlier run that make no sense, though size, mtime and"
            f" inode are as they were: {' '.join(str(error).split())}",
            "run the same command again: it hashes all of them, and makes damaged ones again",
        ) from error


def restore_records(state: State) -> None:
    """Restore a finished build's task records from its manifest, and remove the manifest."""
    with writing(state.out):
        _restore_records(state)


def _restore_records(state: State) -> None:
    path = state.out / PARTIAL
    if path.exists():
        restore_all(state, records_of(read_partial(path)))
        remove_file(path)
    path = state.out / MANIFEST
    if not path.exists():
        return
    try:
        manifest = read_manifest(path)
    except MismatchError:
        # Nothing in a damaged manifest is trusted; everything is built again.
        (remove_folder if path.is_dir() else remove_file)(path)
        return
    restore_all(state, chain(records_of(manifest), _order_records(state, manifest)))
    # Until a file of it is written again, it is as it was.
    state.ordered.touch()
    remove_file(path)


def records_of(made: Manifest | PartialManifest) -> Iterator[tuple[str, PartitionOutput]]:
    """Yield the names and the records of the tasks that made the partitions of an output."""
    for record in _partitions(made):
        facts = {field.name: getattr(record, field.name) for field in fields(PartitionCounts)}
        written = {path: made.files[path] for path in record.files}
        yield record.task, PartitionOutput(**facts, files=written)


def _partitions(made: Manifest | PartialManifest) -> Iterator[PartitionRecord]:
    if isinstance(made, Manifest):
        return chain.from_iterable(one.partitions for one in made.sources.values())
    return chain.from_iterable(made.sources.values())


def _order_records(state: State, manifest: Manifest) -> Iterator[tuple[str, AnyRecord]]:
    """Yield the names and the records of the tasks that wrote the order."""
    files = manifest.files
    if STEPS not in files or not files[STEPS].matches(state.out / STEPS):
        return
    steps = read_steps(state.out / STEPS)
    shards: defaultdict[str, list[str]] = defaultdict(list)
    for path in files:
        if path.startswith((f"{ORDER}/", f"{PROVENANCE}/")):
            shards[path.rpartition("/")[0]].append(path)
    is_index = manifest.order.pool is not ABSENT
    for window in manifest.order.windows:
        for file in split_files(window, manifest.order.format):
            rows = [] if is_index else shards.get(file.path, [file.path])
            written = [provenance_file(file.path), *rows]
            if not files.keys() >= set(written):
                continue
            own = steps.slice(file.first_step, file.num_steps)
            yield (
                written[0] if is_index else file.path,
                OrderFileRecord(
                    key=manifest.order.key,
                    num_tokens=tuple(own["num_tokens"].to_pylist()),
                    sha256=tuple(own["sha256"].to_pylist()),
                    files={path: files[path] for path in written},
                ),
            )
    for path in shards.get(DOCUMENTS, []):
        yield path, TaskRecord(key=manifest.order.key, files={path: files[path]})
