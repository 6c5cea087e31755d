"""Reached partitions: a source whose partitions are made in sequence -> the first that suffice.

Which these are depends on the sequence and on their tokens alone. What workers make beyond them,
until the budget is known to be met, is removed, and whatever is wrong with it is no error.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

from pipeline.core.errors import PipelineError
from pipeline.core.mirrored import remove_file, remove_folder
from pipeline.core.progress import TASKS, Work, measured
from pipeline.runner.build_partitions import (
    check_files_of_text,
    find_repeats,
    partition_tasks,
    without_repeats,
)
from pipeline.runner.expected_files import num_expected
from pipeline.runner.holdout_split import split_holdout
from pipeline.runner.inputs import BuildContext, PreparedSource
from pipeline.runner.plan import num_bytes
from pipeline.runner.repeated_ids import Repeats
from pipeline.runner.task_cache import PartitionOutput
from pipeline.runner.tasks.make_partition import make_partition, work_of_partition
from pipeline.runner.tasks.partition_task import PartitionTask
from pipeline.runner.tasks.sample_partition import CachedSampleTask, find_cached_sample
from pipeline.sources import InputFile

Made = Mapping[str, PartitionOutput]
"""By partition, its record."""


def reach_partitions(context: BuildContext, source: PreparedSource) -> list[PartitionOutput]:
    """Chunk the partitions of a source in sequence until their tokens meet its budget.

    Return their records by name: of the shortest beginning of the sequence that has enough tokens
    for training, or of all partitions where none does.

    Raises: as `build_partitions`, for the partitions that are reached alone.
    """
    by_name = {task.partition: task for task in partition_tasks(context, source)}
    tasks = [by_name[name] for name in source.planned.sequence]
    made: Made = {}
    repeats = Repeats(count=0, named=(), ids={})
    num_left = _budget(source)
    try:
        while len(made) < len(tasks) and num_left > 0:
            wave = tasks[len(made) :][: _wave_size(source, made, num_left)]
            more = _make_wave(context, wave, num_left)
            num_left -= _num_tokens(more)
            made = dict(sorted({**made, **more}.items()))
            if num_left <= 0 or len(made) == len(tasks):
                # Without documents that repeat an id, and those that are held out, there may be too
                # few tokens again. No shorter beginning has enough then: each partition adds at
                # most its own tokens.
                made, repeats = _drop_repeats(context, source, made, repeats)
                num_left = _budget(source) - _num_for_training(context, source, made)
    finally:
        remove_folder(context.state.buckets)
    _remove_chunks(context, [task for task in tasks if task.partition not in made])
    records = [*made.values()]
    check_files_of_text(source, records)
    return records


def find_reached_samples(
    context: BuildContext, source: PreparedSource, tasks: Sequence[CachedSampleTask]
) -> list[PartitionOutput] | None:
    """Return the earlier samples of the partitions that the budget reaches, if all are intact.

    tasks: of all partitions.
    """
    by_name = {task.partition: task for task in tasks}
    in_sequence = [by_name[name] for name in source.planned.sequence]
    found: list[PartitionOutput] = []
    num_left = _budget(source)
    for record in context.cluster.each("look for samples", find_cached_sample, in_sequence):
        if record is None:
            return None
        found.append(record)
        num_left -= record.tokens.written - record.tokens.validation
        if num_left <= 0:
            break
    return found


def _work(task: PartitionTask, made: PartitionOutput | PipelineError) -> Work:
    return TASKS if isinstance(made, PipelineError) else work_of_partition(task, made)


@measured(_work)
def try_partition(task: PartitionTask) -> PartitionOutput | PipelineError:
    """Make a partition, or return why it cannot be made: the budget may not reach it."""
    try:
        return make_partition(task)
    except PipelineError as error:
        return error


def _budget(source: PreparedSource) -> int:
    num_tokens = source.planned.ask.tokens
    assert num_tokens is not None, "only a number of tokens can be met"
    return num_tokens


def _num_tokens(made: Made) -> int:
    return sum(record.tokens.written for record in made.values())


def _num_for_training(context: BuildContext, source: PreparedSource, made: Made) -> int:
    """Return the tokens that are not held out."""
    split = split_holdout(context, [source], {source.name: [*made.values()]})
    return sum(part.num_tokens for part in split[source.name].values())


def _wave_size(source: PreparedSource, made: Made, num_left: int) -> int:
    """Return how many partitions to hand to the cluster next, at least one.

    First half of those that sizes let expect; then by the tokens of those that are made. So the
    last wave has hardly more than is needed, however many workers wait.
    """
    planned = source.planned
    left = (planned.partitions[name] for name in planned.sequence[len(made) :])
    if not made:
        return (num_expected(left, num_left) + 1) // 2
    num_tokens = _num_tokens(made)
    read = sum(one.num_bytes for record in made.values() for one in record.inputs)

    def tokens_of(files: Sequence[InputFile]) -> float:
        return sum(map(num_bytes, files)) * num_tokens / max(read, 1)

    return min(num_expected(left, num_left, tokens_of), 2 * len(made))


def _make_wave(context: BuildContext, wave: Sequence[PartitionTask], num_left: int) -> Made:
    """Make the next partitions until they have so many tokens."""
    made: dict[str, PartitionOutput] = {}
    with closing(_each(context, wave)) as records:
        for record in records:
            made[record.partition] = record
            num_left -= record.tokens.written
            if num_left <= 0:
                break
    return made


def _each(
    context: BuildContext, tasks: Sequence[PartitionTask]
) -> Generator[PartitionOutput, None, None]:
    """Yield the record of each partition. Raises: what is wrong with it, once it is its turn."""
    for result in context.cluster.each("chunk", try_partition, tasks):
        if isinstance(result, PipelineError):
            raise result
        yield result


def _drop_repeats(
    context: BuildContext, source: PreparedSource, made: Made, known: Repeats
) -> tuple[Made, Repeats]:
    """Make partitions again without documents of repeated ids; `known`: those found before."""
    part = replace(source, inputs={name: source.inputs[name] for name in made})
    records = {source.name: [*made.values()]}
    # What was found before stays beside it, for the partitions that are made again.
    found = find_repeats(context, [part], records, folder=f"repeated_in_{len(made)}")
    if source.name not in found:
        return made, known
    repeats = known.joined(found[source.name])
    [again] = without_repeats(context, [part], records, {source.name: repeats}).values()
    return {record.partition: record for record in again}, repeats


def _remove_chunks(context: BuildContext, tasks: Sequence[PartitionTask]) -> None:
    """Remove the chunks that were made beyond the budget."""
    for task in tasks:
        for folder in [task.folder, *([task.holdout.folder] if task.holdout else [])]:
            remove_folder(context.state.out / folder)
            remove_file(context.state.table(folder))
