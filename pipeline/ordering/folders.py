"""Folders: which source and file each run of a pool's rows came from, saved for the tasks."""

import json
from collections.abc import Sequence

from pipeline.files import publish
from pipeline.layout import State
from pipeline.ordering.values import PoolFolder


def save_folders(state: State, folders: Sequence[PoolFolder]) -> None:
    """Save source and file of each folder, by its number."""
    with publish(state.folders, state.scratch) as temporary:
        temporary.write_text(json.dumps([[one.source, one.file] for one in folders]))


def load_folders(state: State) -> list[tuple[str, str]]:
    """Load source and file of each folder, by its number."""
    saved = json.loads(state.folders.read_bytes())
    return [(source, file) for source, file in saved]
