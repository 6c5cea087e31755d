"""Redo: a plan and an output folder -> how many tasks a build there has to do, which it does not.

An earlier build, perhaps of another mixture, is judged by its records and the sizes of its files;
a build also looks at what is in them, and so may find more to redo.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from pipeline.config import RAW
from pipeline.core.errors import MismatchError
from pipeline.core.json_record import ABSENT
from pipeline.dataset import (
    MANIFEST,
    PARTIAL,
    STEPS,
    Manifest,
    PartialManifest,
    State,
    read_manifest,
    read_partial,
)
from pipeline.runner.build_partitions import partition_tasks
from pipeline.runner.cluster import InProcess
from pipeline.runner.earlier_build import records_of
from pipeline.runner.expected_files import expected_part
from pipeline.runner.inputs import BuildContext, PreparedSource, prepare_source
from pipeline.runner.output_tokenizer import cached_tokenizer
from pipeline.runner.plan import Plan
from pipeline.runner.sample_sources import decide_together, sample_keys
from pipeline.runner.task_cache import SizeOf, have_sizes, may_stand, sizes_of
from pipeline.runner.tasks.sample_partition import sample_name
from pipeline.stages.tokenizer import Tokenizer
from pipeline.version import VERSION

Stands = Callable[[str, str], bool]
"""Tells whether the files of a task, by its name and key, seem to be there."""


@dataclass(kw_only=True, slots=True)
class Redo:
    """How many of the tasks of each stage are to be done, of how many."""

    num_tasks: dict[str, int] = field(default_factory=dict)
    redone: dict[str, int] = field(default_factory=dict)
    orders: bool = True
    """Whether rows are put in order again, all of them."""
    is_bound: bool = False
    """Whether fewer may be redone, as a scan of the corpus tells."""

    def add(self, stage: str, redone: int, num_tasks: int) -> None:
        self.redone[stage] = self.redone.get(stage, 0) + redone
        self.num_tasks[stage] = self.num_tasks.get(stage, 0) + num_tasks


def describe_redo(redo: Redo) -> str:
    """Return what is redone as a line of text. Pure."""
    most = "at most " if redo.is_bound else ""
    stages = [
        f"{stage} {most}{redo.redone[stage]:,} of {number:,} partitions"
        for stage, number in redo.num_tasks.items()
        if number
    ]
    return ", ".join([*stages, "order all rows" if redo.orders else "order nothing"])


def find_redo(plan: Plan, out: Path) -> Redo:
    """Return what a build of a plan has to do in a folder, to which nothing is written.

    Sources that are not locked are left out. Raises: InputError or MismatchError when a tokenizer
    is not found, or is not the locked one.
    """
    state = State(out=out.absolute())
    made = _read_made(state)
    size_of = sizes_of(state)
    stands = partial(may_stand, state, size_of) if made is None else _finished(size_of, made)
    tokenizer = cached_tokenizer(plan.mixture.tokenizer, plan.mixture.folder)
    context = _context(plan, state, tokenizer)
    sources = [
        prepare_source(context, expected_part(one), saves=False)
        for one in plan.sources
        if one.files is not None
    ]
    redo = Redo()
    if plan.mixture.dedup is not None or plan.mixture.decontaminate is not None:
        # A scan decides what is dropped, and with it what stands of the chunks.
        num_tasks = sum(len(source.inputs) for source in sources)
        redo.is_bound, stands = True, lambda *_: False
        redo.add("scan", num_tasks, num_tasks)
    _count(context, sources, stands, redo)
    redo.orders = any(redo.redone.values()) or not _has_order(plan, made, tokenizer)
    return redo


def _count(
    context: BuildContext, sources: Sequence[PreparedSource], stands: Stands, redo: Redo
) -> None:
    """Add the tasks that chunk and sample partitions."""
    keys = sample_keys(context, sources)
    sampled = {
        source.name: all(stands(sample_name(source.name, name), keys[source.name])
                         for name in _recorded(source))
        for source in sources if source.name in keys
    }  # fmt: skip
    if decide_together(context.mixture) and not all(sampled.values()):
        sampled = dict.fromkeys(sampled, False)
    for source in sources:
        tasks = partition_tasks(context, source)
        if source.name not in sampled:
            redo.add("chunk", sum(not stands(task.name, task.key) for task in tasks), len(tasks))
            continue
        missing = [] if sampled[source.name] else tasks
        # Chunks go once they are sampled, and are made again for another sample.
        redo.add("chunk", sum(not stands(task.name, task.key) for task in missing), len(tasks))
        redo.add("sample", len(missing), len(tasks))


def _recorded(source: PreparedSource) -> Iterable[str]:
    """Return the partitions that have all been sampled if a source was: of a sequence, the first.

    How many more the budget reaches only their tokens tell.
    """
    planned = source.planned
    return planned.sequence[:1] if planned.is_in_sequence else source.inputs


def _has_order(plan: Plan, made: Manifest | PartialManifest | None, tokenizer: Tokenizer) -> bool:
    """Tell whether a finished output has the rows of all that stands in the order of a plan."""
    if not isinstance(made, Manifest):
        return False
    declared, before = plan.mixture.declaration(), made.mixture.declaration
    return (
        made.code == f"ettin-data {VERSION}"
        and made.tokenizer.sha256 == tokenizer.digest
        and set(made.sources) == set(declared["sources"])
        and all(before.get(key) == declared.get(key) for key in ("phase", "order", "scale"))
        and (made.order.pool is ABSENT) == (plan.mixture.order.rows == "written")
        and STEPS in made.files
    )


def _read_made(state: State) -> Manifest | PartialManifest | None:
    with suppress(MismatchError):
        return read_manifest(state.out / MANIFEST)
    with suppress(MismatchError):
        return read_partial(state.out / PARTIAL)
    return None


def _finished(size_of: SizeOf, made: Manifest | PartialManifest) -> Stands:
    records = dict(records_of(made))

    def stands(name: str, key: str) -> bool:
        record = records.get(name)
        return record is not None and record.key == key and have_sizes(size_of, record.files)

    return stands


def _context(plan: Plan, state: State, tokenizer: Tokenizer) -> BuildContext:
    mixture = replace(plan.mixture, folder=plan.mixture.folder.absolute())
    return BuildContext(
        mixture=mixture,
        state=state,
        cluster=InProcess(lambda *_: None),
        tokenizer=tokenizer,
        memory_bytes=0,
        keeps_raw=True,
        hashes_all=False,
        raw=RAW,
        run="",
    )
