"""Shared texts: the bounds of sources in `validation-v1` -> the texts that only others give.

Only texts between the bounds of two sources are compared, by ranges of their numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.core.bins import NUM_BITS
from pipeline.core.files import load_array, publish, publish_array, save_array
from pipeline.core.mirrored import remove_folder
from pipeline.runner.inputs import BuildContext
from pipeline.runner.number_buckets import Buckets
from pipeline.runner.tasks.training_chunks import Texts
from pipeline.runner.threshold import in_groups
from pipeline.stages.holdout import given_to_others

_STAGE = "compare texts"


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberTask:
    """Some partitions of a source, and which of their texts are compared."""

    texts: Sequence[Texts]
    start: int
    stop: int
    """The range of their numbers."""
    buckets: Buckets
    path: Path
    scratch: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareTask:
    """One bucket of the numbers."""

    buckets: Buckets
    number: int
    paths: Sequence[Sequence[Path]]
    """Of each source."""
    bounds: Sequence[int]
    """Of each source, the number below which it gives its texts."""
    path: Path
    scratch: Path


def save_numbers(task: NumberTask) -> None:
    """Save the numbers to compare."""
    found = []
    for one in task.texts:
        numbers, _ = one.numbers()
        is_between = (numbers >= np.uint64(task.start)) & (numbers < np.uint64(task.stop))
        found.append(np.unique(numbers[is_between]))
    task.buckets.save(task.path, task.scratch, np.concatenate(found))


def compare_bucket(task: CompareTask) -> int:
    """Save the numbers that one source gives, and another has and does not; return how many."""
    numbers = [task.buckets.load(own, task.number) for own in task.paths]
    given = given_to_others(numbers, task.bounds)
    with publish(task.path, task.scratch, syncs=False) as temporary:
        save_array(temporary, given)
    return len(given)


def find_shared(
    context: BuildContext, texts: Mapping[str, Sequence[Texts]], bounds: Mapping[str, int]
) -> Path | None:
    """Save the numbers of texts that one source gives, and another has and does not.

    Return where they are, distinct and rising: uint64; None where there are none.
    """
    state, cluster = context.state, context.cluster
    if len(set(bounds.values())) < 2:
        return None
    start, stop = min(bounds.values()), max(bounds.values())
    num_rows = sum(one.num_rows for own in texts.values() for one in own)
    buckets = Buckets.of(context.run, start, stop, num_rows * (stop - start) >> NUM_BITS)
    tasks = {
        source: [
            NumberTask(
                texts=group,
                start=start,
                stop=stop,
                buckets=buckets,
                path=state.bucketed(f"texts/{source}", number),
                scratch=state.scratch,
            )
            for number, group in enumerate(in_groups(own, [one.num_rows for one in own]))
        ]
        for source, own in texts.items()
    }
    cluster.map(_STAGE, save_numbers, [task for own in tasks.values() for task in own])
    compared = [
        CompareTask(
            buckets=buckets,
            number=number,
            paths=[[task.path for task in own] for own in tasks.values()],
            bounds=[bounds[source] for source in tasks],
            path=state.bucketed("given", number),
            scratch=state.scratch,
        )
        for number in range(len(buckets))
    ]
    num_given = sum(cluster.map(_STAGE, compare_bucket, compared))
    parts = (load_array(task.path) for task in compared)
    publish_array(state.shared_texts, state.scratch, np.dtype(np.uint64), num_given, parts)
    remove_folder(state.buckets)
    return state.shared_texts if num_given else None
