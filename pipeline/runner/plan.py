"""Plan: a mixture and its lock -> the partitions that a build makes.

Of each local source the first documents are read. No request is sent, so the files of a remote
source that is not locked are unknown.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path

from pipeline.config import IN_SEQUENCE, LONGEST_FIRST, Mixture, Source, SourceSample, closest
from pipeline.core.errors import ConfigError, InputError
from pipeline.core.html_table import html_table
from pipeline.core.units import format_bytes
from pipeline.dataset import TRAIN, State, chunk_folder
from pipeline.dataset.mds import INDEX_NAME
from pipeline.runner.output_as_input import refuse_output
from pipeline.runner.partition_order import arrange
from pipeline.sources import (
    InputFile,
    Lock,
    LockedSource,
    check_fields,
    check_sources,
    group_files,
    locate,
    locked_source,
    name_partitions,
)
from pipeline.stages import sampling
from pipeline.stages.sampling import Ask
from pipeline.storage import MatchedFiles, StoredFile, match_files

_MAX_NAMED = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedSource:
    """A source with its files."""

    source: Source
    ask: Ask
    sample: SourceSample
    """How chunks are chosen, where they are."""
    held_fraction: Fraction
    """What part of it goes to the holdout; 0 where there is none."""
    locked: LockedSource | None
    """The lock, narrowed to `files`."""
    takes_part: bool
    """Whether the whole build chooses chunks: not where all are taken, once or more."""
    files: tuple[InputFile, ...] | None
    """Sorted; None while they are unknown."""
    partitions: Mapping[str, tuple[InputFile, ...]]
    """The files of each partition; none while they are unknown."""
    num_others: int
    """Its partitions that are left out where some are built alone."""
    skipped: tuple[str, ...] = ()
    """What local patterns reach and `on_missing: skip` leaves out, with the reason."""

    @property
    def is_sampled(self) -> bool:
        """Whether anything but one pass over every chunk goes to training."""
        return bool(self.held_fraction) or not self.ask.is_whole or self.takes_longest

    @property
    def is_in_sequence(self) -> bool:
        """Whether its partitions are made in `sequence`, and none beyond what meets the budget."""
        return self.sample.algorithm == IN_SEQUENCE and self.ask.key == "tokens"

    @property
    def sequence(self) -> list[str]:
        """All partitions in the order in which whole ones are chosen."""
        return list(sampling.in_sequence(self.partitions, self.sample.seed))

    @property
    def takes_longest(self) -> bool:
        """Whether chunks are chosen, and written, from the longest down."""
        return self.takes_part and self.sample.algorithm == LONGEST_FIRST

    def folder(self, partition: str, mixture: Mixture) -> str:
        """Where a partition's sampled shards go, relative to the output.

        As published, one that is sampled longest first has the name of its file alone.
        """
        name = partition if self.takes_longest else chunk_folder(partition, mixture.chunk)
        return f"{TRAIN}/{self.source.name}/{name}"

    def chunks_folder(self, partition: str, mixture: Mixture) -> str:
        """Where all chunks of a partition go: into the state, if they are sampled later."""
        if self.is_sampled:
            return State.chunks(self.source.name, chunk_folder(partition, mixture.chunk))
        return self.folder(partition, mixture)

    def holdout_folder(self, partition: str, mixture: Mixture) -> str:
        """Where all chunks of a partition go as the holdout has them, until some are chosen."""
        if mixture.validation_chunk is None:
            return self.chunks_folder(partition, mixture)
        return State.holdout_chunks(self.source.name, chunk_folder(partition, mixture.chunk))


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a build of a mixture reads and makes."""

    mixture: Mixture
    sources: tuple[PlannedSource, ...]
    """Sorted by name."""
    lock: Lock | None
    """The lock, narrowed to the files that are to be read."""
    partitions: tuple[str, ...]
    """`source/folder` of each partition known, in the order of the pool; none where some are built
    alone. A listing may leave out partitions without rows."""

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        rows = []
        for one in self.sources:
            counts = ["?"] * 3
            if one.files is not None:
                size = format_bytes(sum(map(num_bytes, one.files)))
                counts = [f"{len(one.partitions):,}", f"{len(one.files):,}", size]
            algorithm = one.sample.algorithm if one.takes_part else ""
            rows.append([one.source.name, one.source.category, algorithm, *counts])
        locked = "not locked" if self.lock is None else "locked"
        notes = [f"{locked}; fingerprint {self.mixture.fingerprint}", *self.skipped]
        texts, numbers = ("source", "category", "sampled by"), ("partitions", "files", "bytes")
        return html_table(f"plan of {self.mixture.name}", notes, texts, numbers, rows)

    @property
    def unlocked(self) -> list[str]:
        return [one.source.name for one in self.sources if one.files is None]

    @property
    def skipped(self) -> list[str]:
        """What `on_missing: skip` leaves out, a line for each source that reaches such files."""
        return [_left_out(one.source, one.skipped) for one in self.sources if one.skipped]


def check_local(mixture: Mixture) -> list[str]:
    """Return `Plan.skipped` of a mixture whose files are not locked yet.

    Raises: InputError when a local pattern cannot be listed, or reaches the output of a build.
    """
    folder, lines = Path(mixture.folder), []
    for source in mixture.sources:
        if source.origin.path is not None:
            matched = _match(mixture, source)
            files = _name_files(source, matched)
            refuse_output(f"sources.{source.name}", source.origin.path, folder, files)
            lines += [_left_out(source, matched.skipped)] if matched.skipped else []
    return lines


def make_plan(
    mixture: Mixture,
    lock: Lock | None,
    raw: Path,
    out: Path | None = None,
    alone: Mapping[str, Collection[str]] | None = None,
) -> Plan:
    """Find the files of every source: as locked, pulled into `raw`, or else as listed here.

    out: the output of the build, where there is one. alone: the partitions of each source that are
    built alone, of which all chunks are taken whatever a budget says.

    Raises: InputError when a source has no file, one of an output, two files that would share a
    folder, another origin than was locked, a first local file without the fields of text and id, or
    a listing of other partitions; ConfigError for a budget that its files cannot meet, and for
    partitions that are not there.
    """
    if lock is not None:
        check_sources(lock, mixture)
    asks = sampling.budgets(mixture)
    planned = [
        _plan_source(mixture, source, asks[source.name], lock, raw, alone)
        for source in mixture.sources
    ]
    for one in planned:
        origin, files = one.source.origin, one.files or ()
        patterns = origin.path or origin.url or ()
        refuse_output(f"sources.{one.source.name}", patterns, Path(mixture.folder), files, out)
    known = [one for one in planned if one.files is not None]
    sampling.check_feasible(
        {one.source.name: one.ask for one in known},
        {one.source.name: [(f.declared, num_bytes(f)) for f in one.files or ()] for one in known},
    )
    sources = {one.source.name: one.locked for one in planned if one.locked is not None}
    return Plan(
        mixture=mixture,
        sources=tuple(planned),
        lock=None if lock is None else replace(lock, sources=sources),
        partitions=_arrange(mixture, planned) if alone is None else (),
    )


def _arrange(mixture: Mixture, planned: Sequence[PlannedSource]) -> tuple[str, ...]:
    made = {
        one.folder(partition, mixture).removeprefix(f"{TRAIN}/"): one
        for one in planned
        for partition in group_files(one.files or (), one.source.origin.files_per_partition)
    }
    may_be_empty = {name for name, one in made.items() if one.is_sampled}
    # Of a source that is not locked, and of a miniature, only a part of what is listed is known.
    is_whole = mixture.scale >= 1 and all(one.files is not None for one in planned)
    return arrange(
        made, mixture.order, mixture.folder, is_whole=is_whole, may_be_empty=may_be_empty
    )


def _left_out(source: Source, skipped: tuple[str, ...]) -> str:
    named = "; ".join([*skipped[:_MAX_NAMED], *(["…"] if len(skipped) > _MAX_NAMED else [])])
    return f"sources.{source.name}: left out {len(skipped):,} that are no readable files: {named}"


def num_bytes(file: InputFile) -> int:
    return file.path.stat().st_size if file.num_bytes is None else file.num_bytes


def _plan_source(
    mixture: Mixture,
    source: Source,
    ask: Ask,
    lock: Lock | None,
    raw: Path,
    alone: Mapping[str, Collection[str]] | None,
) -> PlannedSource:
    locked = None if lock is None else locked_source(lock, source.name, source.origin)
    skips = source.origin.on_missing == "skip"
    is_listed = source.origin.path is not None and (locked is None or skips)
    matched = _match(mixture, source) if is_listed else None
    files = _find_files(mixture, source, locked, raw, matched)
    takes_part = ask.epochs is None or ask.epochs.denominator > 1
    partitions: dict[str, tuple[InputFile, ...]] = {}
    num_others = 0
    if files is not None:
        sizes = [(file.declared, num_bytes(file)) for file in files]
        chosen = _choose(mixture, source, files, sizes)
        part_bytes = sum(sizes[index][1] for index in chosen)
        ask = sampling.of_part(ask, part_bytes, sum(size for _, size in sizes))
        partitions = group_files([files[i] for i in chosen], source.origin.files_per_partition)
        if alone is not None:
            ask = replace(ask, key="epochs", tokens=None, epochs=Fraction(1)) if takes_part else ask
            num_others = len(partitions) - len(alone[source.name])
            partitions = _named(source.name, partitions, alone[source.name])
        files = tuple(chain.from_iterable(partitions.values()))
        locked = None if locked is None else _only(locked, files)
    planned = PlannedSource(
        source=source,
        ask=ask,
        sample=mixture.sample_of(source),
        held_fraction=Fraction(0) if mixture.validation is None else mixture.validation.fraction,
        locked=locked,
        takes_part=takes_part,
        files=files,
        partitions=partitions,
        num_others=num_others,
        skipped=() if matched is None else matched.skipped,
    )
    _check_first(planned)
    return planned


def _check_first(planned: PlannedSource) -> None:
    """Look for the fields of text and id in the file that is read first, if it is local.

    Raises: InputError.
    """
    if planned.files and planned.source.origin.kind == "path":
        first = planned.files[0]
        if planned.is_in_sequence:
            [first, *_] = planned.partitions[planned.sequence[0]]
        if first.path.is_file():
            check_fields(first, planned.source.origin)


def narrowed(planned: PlannedSource, partitions: Collection[str]) -> PlannedSource:
    """Return a source with some of its partitions. Pure."""
    names = {*partitions}
    own = {name: files for name, files in planned.partitions.items() if name in names}
    files = tuple(chain.from_iterable(own.values()))
    locked = None if planned.locked is None else _only(planned.locked, files)
    return replace(planned, partitions=own, files=files, locked=locked)


def _only(locked: LockedSource, files: Sequence[InputFile]) -> LockedSource:
    """Return the lock of some of a source's files."""
    names = {file.declared for file in files}
    kept = tuple(file for file in locked.files if declared(locked, file) in names)
    return replace(locked, files=kept)


def _named(
    source: str, partitions: Mapping[str, tuple[InputFile, ...]], names: Collection[str]
) -> dict[str, tuple[InputFile, ...]]:
    """Return the named partitions of a source. Raises: ConfigError for one that is not there."""
    for name in sorted(names):
        if name not in partitions:
            raise ConfigError(
                f'--partitions: got "{source}/{name}", expected one of the {len(partitions):,}'
                f" partitions of {source}, such as {source}/{next(iter(partitions))}"
                f"{_nearest(name, partitions)}"
            )
    return {name: partitions[name] for name in sorted(names)}


def _nearest(name: str, partitions: Collection[str]) -> str:
    """Return `closest`, which is first the partition whose folder or file has this name."""
    for one in partitions:
        if name.startswith((f"{one}-", f"{one}.")) or one.startswith(f"{name}-"):
            return f'; did you mean "{one}"?'
    return closest(name, partitions)


def _choose(
    mixture: Mixture,
    source: Source,
    files: Sequence[InputFile],
    sizes: Sequence[tuple[str, int]],
) -> list[int]:
    """Return which files of a source are read, rising.

    Raises: ConfigError for a partition that it does not have, InputError for one that no folder
    beside the index can be named after.
    """
    sample = mixture.sample_of(source)
    if sample.algorithm != LONGEST_FIRST:
        return sampling.choose_files(sizes, mixture.scale, sample.seed, source.name)
    partitions = {file.partition: position for position, file in enumerate(files)}
    if INDEX_NAME in partitions:
        raise InputError(
            f"sources.{source.name}: got partition {INDEX_NAME}, which {LONGEST_FIRST} would write"
            " in place of the index",
            "rename the file",
        )
    for name in sample.first:
        if name not in partitions:
            raise ConfigError(
                f'sources.{source.name}.sample.first: got "{name}", expected partitions of the'
                f" source, such as {files[0].partition}{closest(name, partitions)}"
            )
    # In the order of sampling, so that a larger miniature contains the smaller one.
    order = [partitions[name] for name in sampling.take_first(partitions, sample.first)]
    return sampling.enough_files([size for _, size in sizes], mixture.scale, order)


def _match(mixture: Mixture, source: Source) -> MatchedFiles:
    origin, where = source.origin, f"sources.{source.name}.from.path"
    assert origin.path is not None
    return match_files(where, origin.path, Path(mixture.folder), origin.on_missing)


def _name_files(source: Source, matched: MatchedFiles) -> list[InputFile]:
    listed = [(*one, None) for one in matched.files]
    return name_partitions(source.name, listed, source.origin.partition)


def _find_files(
    mixture: Mixture,
    source: Source,
    locked: LockedSource | None,
    raw: Path,
    matched: MatchedFiles | None,
) -> tuple[InputFile, ...] | None:
    origin, folder = source.origin, Path(mixture.folder)
    if locked is not None:
        listed = [
            (declared(locked, file), locate(raw, folder, locked, file), file)
            for file in locked.files
        ]
        return tuple(name_partitions(source.name, listed, origin.partition))
    if matched is None:
        return None
    return tuple(_name_files(source, matched))


def declared(locked: LockedSource, file: StoredFile) -> str:
    """Return how records name a locked file: by its address, or its path. Pure."""
    if locked.origin.hub is None:
        return file.path
    return f"hf://datasets/{locked.origin.hub}@{locked.revision}/{file.path}"
