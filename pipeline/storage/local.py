"""Local files: glob patterns relative to a folder -> the files they match.

Links and `..` stay as the mixture wrote them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import Origin
from pipeline.core.digest import sha256_file
from pipeline.core.errors import InputError, NoMatchError
from pipeline.storage.local_glob import Taken, reach_files
from pipeline.storage.patterns import pattern_hint
from pipeline.storage.store import RESTORE, StoredFile, unreadable

OnMissing = Literal["stop", "skip"]

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class MatchedFiles:
    """What patterns match."""

    files: tuple[tuple[str, Path], ...]
    """Each file once: as the mixture would write it, and its path."""
    skipped: tuple[str, ...]
    """What was reached and is no readable file, with the reason."""


class LocalStore:
    """Files beside a mixture; they have no revision."""

    revision = None

    def __init__(self, origin: Origin, folder: Path, revision: str | None) -> None:
        assert origin.path is not None
        assert revision is None
        self._patterns, self._folder = origin.path, folder
        self._on_missing = origin.on_missing

    def list(self) -> tuple[StoredFile, ...]:
        # Each file is read whole for its digest.
        matched = match_files("from.path", self._patterns, self._folder, self._on_missing)
        return tuple(_describe(declared, path) for declared, path in sorted(matched.files))

    def has(self, path: str) -> bool:
        return (self._folder / path).is_file()

    def stream(self, file: StoredFile, start: int, write: Callable[[bytes], None]) -> None:
        try:
            with (self._folder / file.path).open("rb") as stored:
                stored.seek(start)
                while piece := stored.read(_PIECE_BYTES):
                    write(piece)
        except OSError as error:
            raise unreadable(file.path, error) from error


def match_files(
    where: str, patterns: Sequence[str], folder: Path, on_missing: OnMissing = "stop"
) -> MatchedFiles:
    """Match patterns as `reach_files` does; a file that several match is one file.

    Raises: NoMatchError, naming `where`, when a pattern matches no file; InputError when one cannot
    be listed, and for all that is reached and is no readable file, unless `on_missing` skips it.
    """
    files: dict[Path, str] = {}
    unreadable: dict[Path, str] = {}
    taken: Taken = {}
    for pattern in patterns:
        try:
            reached = reach_files(folder, pattern, taken)
        except (ValueError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f'{where}: "{pattern}" cannot be listed: {reason}',
                "write a glob such as data/**/*.json.gz",
            ) from error
        if not reached.files and (on_missing == "skip" or not reached.unreadable):
            raise NoMatchError(
                f'{where}: "{pattern}" matches no file below {folder}',
                "paths are relative to the mixture file; "
                + (pattern_hint(pattern) or "check the spelling"),
            )
        files |= {path: _declared(path, folder) for path in reached.files}
        unreadable |= reached.unreadable
    lines = tuple(f"{_declared(path, folder)} {reason}" for path, reason in unreadable.items())
    if lines and on_missing == "stop":
        shown = "".join(f"\n  {line}" for line in lines)
        raise InputError(
            f"{where}: got what is no readable file:{shown}",
            "restore it, or leave it out with a narrower pattern; `on_missing: skip` leaves such"
            " files out and counts them",
        )
    matched = tuple((declared, path) for path, declared in files.items())
    return MatchedFiles(files=matched, skipped=lines)


def _declared(path: Path, folder: Path) -> str:
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


def _describe(declared: str, path: Path) -> StoredFile:
    try:
        return StoredFile(
            path=declared,
            num_bytes=path.stat().st_size,
            digest=f"sha256:{sha256_file(path)}",
            num_rows=_num_rows(declared, path) if path.suffix == ".parquet" else None,
        )
    except OSError as error:
        raise unreadable(declared, error) from error


def _num_rows(declared: str, path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError) as error:
        # Arrow's messages may run over several lines.
        reason = " ".join(str(error).split())
        raise InputError(f"{declared}: broken parquet: {reason}", RESTORE) from error
