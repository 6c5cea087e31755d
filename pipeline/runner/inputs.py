"""Inputs: a planned source -> its files, with all that is needed to read them."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.config import Mixture
from pipeline.core.digest import sha256_bytes
from pipeline.core.files import publish
from pipeline.dataset import State
from pipeline.runner.cluster import Cluster
from pipeline.runner.plan import PlannedSource, declared, num_bytes
from pipeline.runner.tasks.read_documents import Input, LockedInput
from pipeline.sources import Decoding, InputFile, check_tokenizer
from pipeline.stages.filters import identify, refuse_code
from pipeline.stages.tokenizer import Tokenizer, read_json


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildContext:
    """What all stages of one build share."""

    mixture: Mixture
    """Its folder is absolute."""
    state: State
    cluster: Cluster
    tokenizer: Tokenizer
    memory_bytes: int
    """A larger pool is laid out by position on disk before it is written in order."""
    keeps_raw: bool
    """Whether pulled files stay on disk; else each is fetched only while it is read."""
    hashes_all: bool
    """Whether finished files are read, also those that nobody has written to by all that shows."""
    raw: Path
    """The folder of pulled files, absolute."""
    run: str
    """Unique to this run, so that workers of a user's cluster reuse no maps of an earlier one."""
    cache: Path | str | None = None
    """A folder of chunks that any build has made, absolute."""
    allows_code: bool = False
    """Whether code that the mixture names may run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedSource:
    """A source, and its files as they are to be read."""

    planned: PlannedSource
    inputs: Mapping[str, tuple[Input, ...]]
    """The files of each partition, sorted."""
    filters_made_of: Mapping[str, str]
    """What `identify` says of its filters, and all its inputs have."""

    @property
    def name(self) -> str:
        return self.planned.source.name


class OfInputs(Protocol):
    """A task that reads input files."""

    @property
    def inputs(self) -> tuple[Input, ...]: ...


def input_bytes(task: OfInputs) -> int:
    """Return the bytes of the files that a task reads, by which its time can be told.

    Of a file that has gone, the task says so.
    """
    total = 0
    for one in task.inputs:
        with suppress(OSError):
            total += num_bytes(one.file)
    return total


def refuse_code_in(mixture: Mixture, *, allows_code: bool) -> None:
    """Insist that code which a mixture names may run, if it names some. Raises: ConfigError."""
    for source in () if allows_code else mixture.sources:
        refuse_code(source.filters, f"sources.{source.name}.")


def prepare_source(
    context: BuildContext, planned: PlannedSource, *, saves: bool = True
) -> PreparedSource:
    """Return a source with its inputs.

    saves: whether what its tasks need is saved, as it is unless none is to be done.

    Raises: InputError or MismatchError when a tokenizer is not found, or is not the locked one.
    """
    source, locked = planned.source, planned.locked
    made_of = identify(source.filters, context.mixture.folder)
    decoding = _decoding(context, planned, saves=saves)
    at_origin = {declared(locked, file): file for file in locked.files} if locked else {}

    def prepare(file: InputFile) -> Input:
        return Input(
            source=source.name,
            file=file,
            origin=source.origin,
            filters=source.filters,
            filters_made_of=made_of,
            allows_code=context.allows_code,
            folder=context.mixture.folder,
            decoding=decoding,
            max_bad=context.mixture.max_bad,
            max_document_bytes=context.mixture.max_document_bytes,
            takes_empty=context.mixture.chunk.algorithm == "ettin-line-v1",
            locked=None
            if locked is None
            else LockedInput(
                file=at_origin[file.declared],
                revision=locked.revision,
                is_kept=context.keeps_raw or source.origin.kind == "path",
                raw=context.raw
                if planned.is_in_sequence and source.origin.kind != "path"
                else None,
            ),
        )

    groups = planned.partitions.items()
    inputs = {partition: tuple(map(prepare, files)) for partition, files in groups}
    return PreparedSource(planned=planned, inputs=inputs, filters_made_of=made_of)


def _decoding(context: BuildContext, planned: PlannedSource, *, saves: bool) -> Decoding | None:
    """Return how a source's rows are decoded, once the tokenizer is saved for the workers."""
    data, spec = _decoder(context, planned), planned.source.origin.decode
    if data is None or spec is None:
        return None
    path = context.state.decoder(sha256_bytes(data))
    if saves:
        with publish(path, context.state.scratch) as temporary:
            temporary.write_bytes(data)
    return Decoding(tokenizer=path, cleans_up=spec.clean_up)


def _decoder(context: BuildContext, planned: PlannedSource) -> bytes | None:
    """Return the tokenizer that decodes a source's rows, if they are ids."""
    spec = planned.source.origin.decode
    if spec is None:
        return None
    locked = None if planned.locked is None else planned.locked.tokenizer
    # Where the mixture names no commit, the lock has pinned one.
    revision = spec.revision if locked is None else locked.revision
    data = read_json(spec.tokenizer, revision, context.mixture.folder)
    if locked is not None:
        check_tokenizer(locked, sha256_bytes(data))
    return data
