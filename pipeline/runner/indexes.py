"""Indexes: those of folders of shards, merged into one a source and one at the root."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.dataset import TRAIN, State
from pipeline.dataset.mds import INDEX_NAME, index_bytes, merge_indexes
from pipeline.runner.task_cache import TaskRecord, publish_output


def folders_of(records: Mapping[str, Sequence[TaskRecord]]) -> dict[str, list[str]]:
    """Return the folders of drawn shards of each source, relative to the output."""
    return {name: [record["folder"] for record in made] for name, made in records.items()}


def write_indexes(state: State, folders: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Merge the indexes of folders, in the order given by source; return what the files are."""
    files = {}
    merged = []
    for name, of_source in sorted(folders.items()):
        parts = []
        for folder in of_source:
            path = state.out / folder / INDEX_NAME
            parts.append((path.parent.name, json.loads(path.read_bytes())))
        index = merge_indexes(parts)
        data = index_bytes(index, merged=True)
        files.update(publish_output(state, f"{TRAIN}/{name}/{INDEX_NAME}", data))
        merged.append((name, index))
    root = index_bytes(merge_indexes(merged), merged=True)
    files.update(publish_output(state, f"{TRAIN}/{INDEX_NAME}", root))
    return files
