"""Holdout split: all chunks of sampled sources -> which of them are for validation."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.config import ValidationSpec
from pipeline.core.arrays import BoolArray, Int64Array, Uint32Array, Uint64Array
from pipeline.core.errors import InternalError
from pipeline.core.files import load_array
from pipeline.dataset import State
from pipeline.runner.inputs import BuildContext, PreparedSource
from pipeline.runner.shuffle import Table, load_table
from pipeline.runner.task_cache import PartitionOutput
from pipeline.stages.holdout import choose_first_chunks, choose_holdout

Holdout = Mapping[str, Mapping[str, BoolArray]]
"""By source and partition, bool [num_chunks]: whether a chunk is for validation."""


def split_holdout(
    context: BuildContext,
    sources: Sequence[PreparedSource],
    chunked: Mapping[str, Sequence[PartitionOutput]],
) -> dict[str, dict[str, BoolArray]]:
    """Choose the holdout from the partitions of each source; it may be empty."""
    spec, state = context.mixture.validation, context.state
    tables = {
        source.name: {one.partition: load_table(state, one.folder) for one in chunked[source.name]}
        for source in sources
    }
    if spec is None or not tables:
        return {
            source: {name: np.zeros(len(table), np.bool_) for name, table in parts.items()}
            for source, parts in tables.items()
        }
    if spec.algorithm == "ettin-validation-v1":
        return {
            source.name: _first_chunks(context, spec, source, chunked[source.name])
            for source in sources
        }
    return _whole_documents(state, spec, tables, chunked)


def _first_chunks(
    context: BuildContext,
    spec: ValidationSpec,
    source: PreparedSource,
    records: Sequence[PartitionOutput],
) -> dict[str, BoolArray]:
    """Choose by `ettin-validation-v1`: a fraction of the budget, or of all there is."""
    lengths = {
        one.partition: load_table(
            context.state, source.planned.holdout_folder(one.partition, context.mixture)
        )["length"].astype(np.int64)
        for one in records
    }
    ask, total = source.planned.ask, sum(int(own.sum()) for own in lengths.values())
    budget = ask.tokens if ask.key == "tokens" and ask.tokens else total
    return choose_first_chunks(lengths, int(budget * spec.fraction), spec.seed)


def _whole_documents(
    state: State,
    spec: ValidationSpec,
    tables: Mapping[str, Mapping[str, Table]],
    chunked: Mapping[str, Sequence[PartitionOutput]],
) -> dict[str, dict[str, BoolArray]]:
    """Choose by `validation-v1`: by text over all sources."""
    starts, tokens, digests = {}, {}, {}
    for source, parts in tables.items():
        lengths = _joined(parts, "length").astype(np.int64)
        starts[source] = np.flatnonzero(_joined(parts, "chunk") == 0)
        tokens[source] = np.add.reduceat(lengths, starts[source]) if len(lengths) else lengths
        digests[source] = _joined_digests(state, chunked[source])
        if len(tokens[source]) != len(digests[source]):
            raise InternalError(
                f"sources.{source}: got {len(digests[source]):,} digests of texts for "
                f"{len(tokens[source]):,} documents",
                "report this with the mixture",
            )
    chosen = choose_holdout(digests, tokens, spec.fraction, spec.seed)
    return {
        source: _by_partition(parts, starts[source], chosen[source])
        for source, parts in tables.items()
    }


def _joined(parts: Mapping[str, Table], column: str) -> Uint32Array:
    return np.concatenate([table[column] for _, table in sorted(parts.items())])


def _joined_digests(state: State, records: Sequence[PartitionOutput]) -> Uint64Array:
    """Return the digest of every document's text: uint64 [num_documents, 2], by partition."""
    ordered = sorted(records, key=lambda record: record.partition)
    return np.concatenate([load_array(state.out / State.digests(one.folder)) for one in ordered])


def _by_partition(
    parts: Mapping[str, Table], starts: Int64Array, documents: BoolArray
) -> dict[str, BoolArray]:
    """Return which chunks belong to the chosen documents, which start at `starts`."""
    bounds = np.cumsum([len(table) for _, table in sorted(parts.items())])
    chunks = np.repeat(documents, np.diff(starts, append=bounds[-1]))
    return dict(zip(sorted(parts), np.split(chunks, bounds[:-1]), strict=True))
