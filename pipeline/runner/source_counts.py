"""Balance: what the manifest says of a source, summed over what its partitions say of themselves.

Every number comes from what was written, so the account closes or the build is wrong.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.runner.inputs import PreparedSource
from pipeline.runner.task_cache import TaskRecord
from pipeline.stages import sampling
from pipeline.stages.filters import identify


def describe_source(
    source: PreparedSource, records: Sequence[TaskRecord], folder: Path
) -> dict[str, Any]:
    """Sum a source's counts and keep what each partition says of itself.

    folder: the mixture's, against which the files of filters are read.
    """
    documents: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    chunks: Counter[str] = Counter()
    for record in records:
        documents.update({"in": record["documents"]["in"], "kept": record["documents"]["kept"]})
        dropped.update(record["documents"]["dropped"])
        tokens.update(record["tokens"])
        chunks.update(record["chunks"])
    available = tokens["written"] - tokens["validation"]
    balance = sampling.balance_of(source.planned.ask, available, tokens["drawn"])
    return {
        "filters": identify(source.planned.source.filters, folder),
        "documents": {**documents, "dropped": dict(sorted(dropped.items()))},
        "tokens": dict(tokens),
        "chunks": dict(chunks),
        "budget": {"expected": source.planned.source.expected, **balance.to_json()},
        "partitions": [{**record, "files": sorted(record["files"])} for record in records],
    }
