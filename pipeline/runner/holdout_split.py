"""Holdout split: all chunks of sampled sources -> the rule by which each partition holds some out.

Tasks get rules, some numbers whatever the size of a source, and apply them to their partitions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil

from pipeline.config import ValidationSpec
from pipeline.runner.inputs import BuildContext, PreparedSource
from pipeline.runner.shared_texts import find_shared
from pipeline.runner.task_cache import PartitionOutput
from pipeline.runner.tasks.training_chunks import (
    Chunks,
    HeldFirst,
    HeldOut,
    HeldTexts,
    Texts,
    TrainingChunks,
)
from pipeline.runner.threshold import Search, find_last, in_groups
from pipeline.stages.holdout import bound_of, choose_first_chunks
from pipeline.stages.sampling import in_sequence

_STAGE = "hold out"
Records = Mapping[str, Mapping[str, PartitionOutput]]
"""By source and partition, both sorted."""
Split = Mapping[str, Mapping[str, TrainingChunks]]
"""By source and partition, both sorted: what is left for training."""


def split_holdout(
    context: BuildContext,
    sources: Sequence[PreparedSource],
    chunked: Mapping[str, Sequence[PartitionOutput]],
) -> Split:
    """Choose the holdout from the partitions of each source; it may be empty."""
    spec = context.mixture.validation
    records = {
        source.name: {
            record.partition: record
            for record in sorted(chunked[source.name], key=lambda record: record.partition)
        }
        for source in sorted(sources, key=lambda source: source.name)
    }
    split = {
        source: {name: _all_chunks(context, record) for name, record in own.items()}
        for source, own in records.items()
    }
    if spec is None:
        return split
    if spec.algorithm == "ettin-validation-v1":
        return _without(context, split, _first_chunks(context, spec, sources, records))
    return _without(context, split, _whole_documents(context, spec, records))


def _all_chunks(context: BuildContext, record: PartitionOutput) -> TrainingChunks:
    return TrainingChunks(
        chunks=_chunks(context, record, record.folder),
        held=None,
        num_chunks=record.chunks.written,
        num_tokens=record.tokens.written,
    )


def _chunks(context: BuildContext, record: PartitionOutput, folder: str) -> Chunks:
    return Chunks(out=context.state.out, folder=folder, num_rows=record.chunks.written)


def _without(
    context: BuildContext, split: Split, rules: Mapping[str, Mapping[str, HeldOut]]
) -> Split:
    """Hold out what rules say, and count what is left."""
    parts = [
        replace(part, held=rules[source][name])
        for source, own in split.items()
        for name, part in own.items()
    ]
    tasks = list(in_groups(parts, [part.num_rows for part in parts]))
    counted = (
        replace(part, num_chunks=num_chunks, num_tokens=num_tokens)
        for group, found in zip(tasks, context.cluster.map(_STAGE, _count, tasks), strict=True)
        for part, (num_chunks, num_tokens) in zip(group, found, strict=True)
    )
    return {source: {name: next(counted) for name in own} for source, own in split.items()}


def _count(parts: Sequence[TrainingChunks]) -> list[tuple[int, int]]:
    """Return how many chunks and tokens each partition has for training."""
    lengths = (part.lengths() for part in parts)
    return [(len(own), int(own.sum())) for own in lengths]


def _first_chunks(
    context: BuildContext,
    spec: ValidationSpec,
    sources: Sequence[PreparedSource],
    records: Records,
) -> dict[str, dict[str, HeldFirst]]:
    """Choose by `ettin-validation-v1`: a fraction of the budget, or of all there is."""
    planned = {source.name: source.planned for source in sources}
    whole = [
        _chunks(context, record, planned[source].holdout_folder(name, context.mixture))
        for source, own in records.items()
        for name, record in own.items()
    ]
    tasks = list(in_groups(whole, [one.num_rows for one in whole]))
    sums = (total for found in context.cluster.map(_STAGE, _sum, tasks) for total in found)
    left = iter(whole)
    rules = {}
    for source, own in records.items():
        tokens = {name: next(sums) for name in own}
        ask = planned[source].ask
        budget = ask.tokens if ask.key == "tokens" and ask.tokens else sum(tokens.values())
        # Of a source of which not all partitions are made, these are the first of the sequence.
        sequence = in_sequence(planned[source].partitions, spec.seed)
        most = choose_first_chunks(
            tokens, int(budget * spec.fraction), [name for name in sequence if name in tokens]
        )
        rules[source] = {name: HeldFirst(chunks=next(left), num_tokens=most[name]) for name in own}
    return rules


def _sum(parts: Sequence[Chunks]) -> list[int]:
    """Return the tokens of each partition."""
    return [int(part.lengths().sum()) for part in parts]


def _whole_documents(
    context: BuildContext, spec: ValidationSpec, records: Records
) -> dict[str, dict[str, HeldTexts]]:
    """Choose by `validation-v1`: by text over all sources."""
    texts = {
        source: [
            Texts(chunks=_chunks(context, record, record.folder), seed=spec.seed)
            for record in own.values()
        ]
        for source, own in records.items()
    }
    goals = {
        source: ceil(spec.fraction * sum(record.tokens.written for record in own.values()))
        for source, own in records.items()
    }
    # All others are empty.
    searches = {
        source: Search(parts=own, goal=goals[source], count=sum(one.num_rows for one in own))
        for source, own in texts.items()
        if goals[source]
    }
    found = find_last(context.cluster, _STAGE, list(searches.values()))
    bounds = dict(zip(searches, map(bound_of, found), strict=True))
    given = find_shared(context, {source: texts[source] for source in bounds}, bounds)
    return {
        source: {
            name: HeldTexts(texts=one, bound=bounds.get(source, 0), given=given)
            for name, one in zip(own, texts[source], strict=True)
        }
        for source, own in records.items()
    }
