"""Checkpoint records: what a saved model has seen, written beside its weights.

Enters: the values of a training run. Leaves: `checkpoint.json`, which names the recipe, the order
by its digest and the rows of it that were seen, and pins the other files of its folder. A record
carries its own digest, as a manifest does. Nothing here knows what weights are, so whoever asks
which documents a checkpoint saw needs no training library.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.digest import FileDigest, canonical_json, sha256_bytes
from pipeline.core.errors import InputError, MismatchError
from pipeline.core.json_record import from_json, parse_json, to_json
from pipeline.core.regular_file import read_file
from pipeline.dataset.manifest import seal

FORMAT = "ettin-checkpoint-v1"
RECORD = "checkpoint.json"
_NAME = re.compile(r"[a-z]+([0-9]+)")
_HINT = "remove it to resume from the checkpoint before, or use another one"


@dataclass(frozen=True, kw_only=True, slots=True)
class Clock:
    """How far a phase has come."""

    num_steps: int
    """Optimizer steps that were taken."""
    next_row: int
    """The first row of the order that no step has taken."""
    num_tokens: int
    """Ids of the rows that were taken, padding left out: the time of a schedule."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """Which rows a phase has been given."""

    order: str
    """The digest of the order, 64 hex digits; where a manifest has a ledger, its root."""
    since_row: int
    """The row at which the checkpoint before was saved, or the phase began."""
    multiset_root: str
    """The sum of the ledger's digests of all rows that were taken since the phase began: that of
    the order's ledger once all were, each once."""
    tombstones: tuple[tuple[int, int], ...]
    """Ranges of rows that could not be read and were stood in for, rising."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointRecord:
    """What `checkpoint.json` says."""

    name: str
    """Such as `step599525`, `ext1000` or `decay500`."""
    recipe: Mapping[str, Any]
    """`name`, `fingerprint` and `declaration` of the recipe."""
    clock: Clock
    """How far the phase had come."""
    feed: Mapping[str, Any]
    """The state of the feed."""
    seen: Seen
    """Which rows it was given."""
    begun_from: str | None
    """The digest of the checkpoint that the phase began with; None for a fresh model."""
    code: Mapping[str, str]
    """Versions of what made it."""
    files: Mapping[str, FileDigest]
    """Every other file of the folder."""

    @property
    def digest(self) -> str:
        """The sha256 of what it says: 64 hex digits."""
        return sha256_bytes(canonical_json(_content(self)))


def write_record(folder: Path, record: CheckpointRecord) -> None:
    """Write a record into a folder that holds its files."""
    (folder / RECORD).write_bytes(seal(_content(record)))


def read_record(folder: Path) -> CheckpointRecord:
    """Read the record of a checkpoint; of the files it names only the sizes are checked.

    Raises: InputError when the folder is no checkpoint; MismatchError when the record or a file is
    not as it was written.
    """
    path = folder / RECORD
    try:
        data = read_file(path)
    except OSError as error:
        raise InputError(
            f"{folder}: got no {RECORD} ({error.strerror}), expected a checkpoint",
            "name a folder such as OUT/step100",
        ) from error
    try:
        content = parse_json(data)
        digest, written = content.pop("digest"), content.pop("format")
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise MismatchError(f"{path}: is not as it was written: got no record", _HINT) from error
    if written != FORMAT:
        raise InputError(f"{path}: got the format {written!r}, expected {FORMAT}")
    try:
        record = from_json(CheckpointRecord, content)
        if record.digest != digest:
            raise ValueError("its digest does not match its content")
    except ValueError as error:
        raise MismatchError(f"{path}: is not as it was written: {error}", _HINT) from error
    for name, expected in record.files.items():
        _check_size(folder / name, expected.num_bytes)
    return record


def check_files(folder: Path, record: CheckpointRecord) -> None:
    """Read every file of a checkpoint. Raises: MismatchError for one that is another."""
    for name, expected in record.files.items():
        found = FileDigest.of(folder / name)
        if found != expected:
            raise MismatchError(
                f"{folder / name}: sha256 is {found.sha256}, {RECORD} says {expected.sha256}",
                _HINT,
            )


def find_checkpoint(where: Path) -> Path:
    """Return the checkpoint that a folder is, or the last of those that lie in it.

    Raises: InputError when there is none.
    """
    last = latest_checkpoint(where)
    if last is None:
        raise InputError(
            f"{where}: got no checkpoint, expected one, or a folder of them",
            "name what `ettin-data train` wrote, or one of its checkpoints",
        )
    return last


def checkpoints_in(where: Path) -> list[Path]:
    """Return the checkpoint that a folder is, or those that lie in it, by their steps."""
    if (where / RECORD).is_file():
        return [where]
    numbered = [
        (int(match[1]), path.parent)
        for path in where.glob(f"*/{RECORD}")
        if (match := _NAME.fullmatch(path.parent.name))
    ]
    return [path for _, path in sorted(numbered)]


def latest_checkpoint(out: Path) -> Path | None:
    """Return the checkpoint of the most steps in a folder; None if there is none."""
    found = checkpoints_in(out)
    return found[-1] if found else None


def _content(record: CheckpointRecord) -> dict[str, Any]:
    return {"format": FORMAT, **to_json(record)}


def _check_size(path: Path, num_bytes: int) -> None:
    found = path.stat().st_size if path.is_file() else None
    if found != num_bytes:
        got = "nothing" if found is None else f"{found:,} bytes"
        raise MismatchError(f"{path}: got {got}, {RECORD} says {num_bytes:,} bytes", _HINT)
