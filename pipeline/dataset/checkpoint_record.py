"""Checkpoint records: the rows that a model has seen, in `checkpoint.json` beside its weights.

A record names the recipe and the order, pins the other files of its folder, and has a digest of its
own. It is read without weights, and so without a training library.
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
from pipeline.dataset.sealed_json import seal

FORMAT = "ettin-checkpoint-v1"
RECORD = "checkpoint.json"
_NAME = re.compile(r"[a-z]+([0-9]+)")
_HINT = "remove it to resume from the checkpoint before, or use another one"


@dataclass(frozen=True, kw_only=True, slots=True)
class Clock:
    """The progress of a phase."""

    num_steps: int
    next_row: int
    """The first row of the order that no step has used."""
    num_tokens: int
    """Ids so far, without padding: the time of a schedule."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """The rows that a phase has used."""

    order: str
    """The digest of the order, 64 hex digits: the root of its ledger, if a manifest has one."""
    since_row: int
    """The row of the checkpoint before, or of the start of the phase."""
    multiset_root: str
    """Sum of the digests of the phase's rows so far; at its end, that of the order's ledger."""
    tombstones: tuple[tuple[int, int], ...]
    """Ranges of unreadable rows that were replaced, rising."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipeRecord:
    """The recipe of a run."""

    name: str
    fingerprint: str
    declaration: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointRecord:
    """The content of `checkpoint.json`."""

    name: str
    """Such as `step599525`, `ext1000` or `decay500`."""
    recipe: RecipeRecord
    clock: Clock
    feed: Mapping[str, Any]
    seen: Seen
    begun_from: str | None
    """The digest of the checkpoint that the phase started from; None for a fresh model."""
    code: Mapping[str, str]
    """Versions of the software."""
    files: Mapping[str, FileDigest]
    """Every other file of the folder."""

    @property
    def digest(self) -> str:
        """The sha256 of its content: 64 hex digits."""
        return sha256_bytes(canonical_json(_content(self)))


def write_record(folder: Path, record: CheckpointRecord) -> None:
    (folder / RECORD).write_bytes(seal(_content(record)))


def read_record(folder: Path) -> CheckpointRecord:
    """Read the record of a checkpoint, and check the sizes of its files.

    Raises: InputError when the folder is no checkpoint; MismatchError when it is damaged.
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
        if written != FORMAT:
            raise InputError(f"{path}: got the format {written!r}, expected {FORMAT}", _HINT)
        record = from_json(CheckpointRecord, content)
        if record.digest != digest:
            raise ValueError("its digest does not match its content")
    except ValueError as error:
        raise MismatchError(f"{path}: is damaged: {error}", _HINT) from error
    except (AttributeError, KeyError, TypeError) as error:
        raise MismatchError(f"{path}: is damaged: got no record", _HINT) from error
    for name, expected in record.files.items():
        file = folder / name
        num_bytes = file.stat().st_size if file.is_file() else None
        if num_bytes != expected.num_bytes:
            got = "nothing" if num_bytes is None else f"{num_bytes:,} bytes"
            raise MismatchError(
                f"{file}: got {got}, {RECORD} says {expected.num_bytes:,} bytes", _HINT
            )
    return record


def check_files(folder: Path, record: CheckpointRecord) -> None:
    """Hash every file of a checkpoint. Raises: MismatchError for one that differs."""
    for name, expected in record.files.items():
        found = FileDigest.of(folder / name)
        if found != expected:
            message = f"{folder / name}: sha256 is {found.sha256}, {RECORD} says {expected.sha256}"
            raise MismatchError(message, _HINT)


def find_checkpoint(where: Path) -> Path:
    """Return the checkpoint that a folder is, or the last one in it. Raises: InputError."""
    last = latest_checkpoint(where)
    if last is None:
        raise InputError(
            f"{where}: got no checkpoint, expected one, or a folder of them",
            "name the output of `ettin-data train`, or one of its checkpoints",
        )
    return last


def checkpoints_in(where: Path) -> list[Path]:
    """Return the checkpoint that a folder is, or those in it, by steps."""
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
