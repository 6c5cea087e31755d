"""Folders: what all tasks of an order look up, saved once for them and not sent with each.

Which source and file each run of a pool's rows came from, and where rows are laid out by position.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.core.files import publish
from pipeline.dataset import State
from pipeline.runner.shuffle.tasks import PoolFolder


def save_folders(state: State, folders: Sequence[PoolFolder]) -> None:
    """Save source and file of each folder, by its number."""
    _save(state, state.folders, [[one.source, one.file] for one in folders])


def load_folders(state: State) -> list[tuple[str, str]]:
    """Load source and file of each folder, by its number."""
    return [(source, file) for source, file in json.loads(state.folders.read_bytes())]


def save_scattered(state: State, names: Sequence[str]) -> None:
    """Save the folders of rows that are laid out by position, relative to the output."""
    _save(state, state.scattered_folders, names)


def load_scattered(state: State) -> list[str]:
    """Load the folders of rows that are laid out by position, relative to the output."""
    names: list[str] = json.loads(state.scattered_folders.read_bytes())
    return names


def _save(state: State, path: Path, content: Sequence[object]) -> None:
    with publish(path, state.scratch) as temporary:
        temporary.write_text(json.dumps(content))
