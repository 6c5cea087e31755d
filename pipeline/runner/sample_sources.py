"""Samples: the chunks of sources -> the sampled shards of every partition.

What is decided together, over a source or, with a holdout by text, over all sources, is cached as a
whole.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from pipeline.config import BY_PARTITION, LONGEST_FIRST, Mixture, to_plain
from pipeline.core.digest import FileDigest, fingerprint
from pipeline.dataset import TRAIN, State
from pipeline.runner.build_partitions import by_source, partition_tasks
from pipeline.runner.holdout_split import Split
from pipeline.runner.inputs import BuildContext, PreparedSource
from pipeline.runner.merged_index import publish_indexes
from pipeline.runner.reached_partitions import find_reached_samples
from pipeline.runner.task_cache import PartitionOutput, has_record
from pipeline.runner.tasks.sample_partition import (
    CachedSampleTask,
    SampleTask,
    find_cached_sample,
    sample_name,
    sample_partition,
)
from pipeline.runner.tasks.training_chunks import KeyedChunks, TrainingChunks
from pipeline.runner.threshold import Search, find_last
from pipeline.stages import sampling
from pipeline.stages.sampling import Draw

Records = Mapping[str, Sequence[PartitionOutput]]
"""By source, the record of each partition."""


def sample_keys(context: BuildContext, sources: Sequence[PreparedSource]) -> dict[str, str]:
    """Return, by source that is sampled, what decides its sample except the bytes of its inputs."""
    return {
        source.name: _sample_key(context, source) for source in sources if source.planned.is_sampled
    }


def find_cached_samples(
    context: BuildContext, sources: Sequence[PreparedSource], keys: Mapping[str, str]
) -> dict[str, list[PartitionOutput]]:
    """Return the earlier samples of sources that are intact and were decided from equal inputs.

    keys: `sample_keys`.
    """
    sampled = [source for source in sources if source.planned.is_sampled]
    recorded = [source for source in sampled if _is_recorded(context.state, source, keys)]
    tasks = {
        source.name: [
            CachedSampleTask(
                out=context.state.out,
                partition=partition,
                inputs=inputs,
                key=keys[source.name],
                cls_id=context.tokenizer.cls_id,
                sep_id=context.tokenizer.sep_id,
                hashes_all=context.hashes_all,
            )
            for partition, inputs in source.inputs.items()
        ]
        for source in recorded
    }
    at_once = [source for source in recorded if not source.planned.is_in_sequence]
    results = context.cluster.map(
        "look for samples",
        find_cached_sample,
        [task for source in at_once for task in tasks[source.name]],
    )
    whole = {
        name: [record for record in records if record is not None]
        for name, records in by_source(at_once, results).items()
        if None not in records
    }
    for source in recorded:
        if source.planned.is_in_sequence:
            reached = find_reached_samples(context, source, tasks[source.name])
            whole |= {} if reached is None else {source.name: reached}
    together = _together(context, whole)
    cached = {
        name: records
        for name, records in whole.items()
        if all(record.together == together[name] for record in records)
    }
    is_usable = not decide_together(context.mixture) or len(cached) == len(sampled)
    return cached if is_usable else {}


def decide_together(mixture: Mixture) -> bool:
    """Tell whether what is left of a source to sample depends on the texts of others. Pure."""
    return mixture.validation is not None and mixture.validation.algorithm == "validation-v1"


def _is_recorded(state: State, source: PreparedSource, keys: Mapping[str, str]) -> bool:
    """Tell whether all partitions of a source were sampled, as no first build finds them.

    Of those that are made in sequence, which these are is not yet known.
    """
    partitions = source.planned.sequence[:1] if source.planned.is_in_sequence else source.inputs
    names = (sample_name(source.name, partition) for partition in partitions)
    return all(has_record(state, name, keys[source.name]) for name in names)


def check_budgets(sources: Sequence[PreparedSource], chunked: Records, split: Split) -> None:
    """Refuse the budgets that cannot be met, all at once. Raises: ConfigError."""
    counted = []
    for source in sorted(sources, key=lambda source: source.name):
        records, left = chunked[source.name], _num_tokens(split[source.name])
        held = sum(record.tokens.written for record in records) - left
        counted.append((source.planned.ask, left, _losses(records, held)))
    sampling.check_reachable(counted)


def _num_tokens(parts: Mapping[str, TrainingChunks]) -> int:
    return sum(part.num_tokens for part in parts.values())


def _losses(records: Sequence[PartitionOutput], held: int) -> str:
    """Return what became of a source's documents and tokens that are not for training."""
    dropped: Counter[str] = Counter()
    for record in records:
        dropped.update(record.documents.dropped)
    num_documents = sum(record.documents.num_in for record in records)
    discarded = sum(record.tokens.discarded for record in records)
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in dropped.most_common())
    parts = [
        f"dropped {dropped.total():,} of {num_documents:,} documents: {reasons}" if dropped else "",
        f"chunking discarded {discarded:,} tokens" if discarded else "",
        f"{held:,} tokens are for validation" if held else "",
    ]
    return "; ".join(filter(None, parts))


def sample_chunks(
    context: BuildContext,
    sources: Sequence[PreparedSource],
    keys: Mapping[str, str],
    chunked: Records,
    split: Split,
) -> dict[str, list[PartitionOutput]]:
    """Sample the chunks that meet each source's budget; return the records of what is written.

    keys: `sample_keys`.
    """
    together = _together(context, {source.name: chunked[source.name] for source in sources})
    draws = _draw(context, sources, split)
    tasks = [
        task
        for source in sources
        for task in _sample_tasks(
            context,
            source,
            keys[source.name],
            together[source.name],
            chunked[source.name],
            split[source.name],
            draws[source.name],
        )
    ]
    samples: dict[str, list[PartitionOutput]] = {source.name: [] for source in sources}
    for task, record in zip(
        tasks, context.cluster.map("sample", sample_partition, tasks), strict=True
    ):
        samples[task.source].append(record)
    return samples


def _draw(
    context: BuildContext, sources: Sequence[PreparedSource], split: Split
) -> dict[str, Mapping[str, Draw]]:
    """Return, by source and partition, the rule for the chunks that are sampled once more."""
    draws: dict[str, Mapping[str, Draw]] = {}
    searches: dict[str, Search] = {}
    for source in sources:
        name, sample, parts = source.name, source.planned.sample, split[source.name]
        tokens = {partition: part.num_tokens for partition, part in parts.items()}
        _, beyond = sampling.repetitions(source.planned.ask, sum(tokens.values()))
        if sample.algorithm == LONGEST_FIRST:
            draws[name] = sampling.draw_longest_first(tokens, beyond, sample.first)
        elif sample.algorithm in BY_PARTITION:
            draws[name] = sampling.draw_partitions(tokens, beyond, source.planned.sequence)
        else:
            draws[name] = sampling.draw_keyed(name, list(parts), sample.seed, None)
            if beyond:
                searches[name] = _search(name, parts, sample.seed, beyond)
    found = find_last(context.cluster, "draw", list(searches.values()))
    seeds = {source.name: source.planned.sample.seed for source in sources}
    for name, last in zip(searches, found, strict=True):
        draws[name] = sampling.draw_keyed(name, list(split[name]), seeds[name], last)
    return draws


def _search(source: str, parts: Mapping[str, TrainingChunks], seed: int, num_tokens: int) -> Search:
    """Return the search for the last chunk of a source that `keyed-v1` takes."""
    return Search(
        parts=[
            KeyedChunks(chunks=part, key=sampling.key_of(source, name, seed))
            for name, part in parts.items()
        ],
        goal=num_tokens,
        count=sum(part.num_chunks for part in parts.values()),
    )


def write_indexes(
    state: State, samples: Records, partitions: Sequence[str]
) -> dict[str, FileDigest]:
    """Merge the indexes of sampled shards into one for each source and one for all of them.

    partitions: `source/folder` of these and maybe others, in the order of the pool. Those that are
    not among them follow by name.
    """
    made = [
        record.folder.removeprefix(f"{TRAIN}/")
        for records in samples.values()
        for record in records
    ]
    places = {name: place for place, name in enumerate(partitions)}
    in_order = sorted(made, key=lambda name: (places.get(name, len(places)), name.split("/")))
    return publish_indexes(state, TRAIN, in_order, sorted(samples))


def _together(context: BuildContext, records: Records) -> dict[str, str]:
    """Return, by source, the fingerprint of the inputs from which its sample is decided."""
    inputs = {
        name: sorted([one.partition, *(file.sha256 for file in one.inputs)] for one in made)
        for name, made in records.items()
    }
    if decide_together(context.mixture):
        return dict.fromkeys(inputs, fingerprint(inputs))
    return {name: fingerprint(of_source) for name, of_source in inputs.items()}


def _sample_tasks(
    context: BuildContext,
    source: PreparedSource,
    key: str,
    together: str,
    records: Sequence[PartitionOutput],
    parts: Mapping[str, TrainingChunks],
    draws: Mapping[str, Draw],
) -> list[SampleTask]:
    mixture, tokenizer, planned = context.mixture, context.tokenizer, source.planned
    num_repetitions, _ = sampling.repetitions(planned.ask, _num_tokens(parts))
    return [
        SampleTask(
            out=context.state.out,
            folder=planned.folder(record.partition, mixture),
            source=source.name,
            key=key,
            together=together,
            record=record,
            chunks=parts[record.partition],
            holdout_folder=planned.holdout_folder(record.partition, mixture),
            holdout_chunk=mixture.validation_chunk or mixture.chunk,
            num_repetitions=num_repetitions,
            draw=draws[record.partition],
            takes_longest=planned.takes_longest,
            chunk=mixture.chunk,
            shards=mixture.shards,
            cls_id=tokenizer.cls_id,
            sep_id=tokenizer.sep_id,
            hashes_all=context.hashes_all,
        )
        for record in records
    ]


def _sample_key(context: BuildContext, source: PreparedSource) -> str:
    declared, ask = context.mixture.declaration(), source.planned.ask
    return fingerprint(
        {
            "partitions": [task.key for task in partition_tasks(context, source)],
            "source": declared["sources"][source.name],
            "ask": [ask.tokens, to_plain(ask.epochs)],
            "sample": declared["sample"],
            "validation": declared["validation"],
        }
    )
