"""Local files: glob patterns relative to a folder -> the files they match.

Links and `..` stay as the mixture wrote them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import Origin
from pipeline.core.digest import sha256_file
from pipeline.core.errors import InputError
from pipeline.core.files import sorted_glob
from pipeline.storage.store import PULL_AGAIN, StoredFile, unreadable

_PIECE_BYTES = 1 << 20


class LocalStore:
    """Files beside a mixture; they have no revision."""

    revision = None

    def __init__(self, origin: Origin, folder: Path, revision: str | None) -> None:
        assert origin.path is not None
        assert revision is None
        self._patterns, self._folder = origin.path, folder

    def list(self) -> tuple[StoredFile, ...]:
        # Each file is read whole for its digest.
        matched = match_files("from.path", self._patterns, self._folder)
        return tuple(_describe(declared, path) for declared, path in sorted(matched))

    def stream(self, file: StoredFile, start: int, write: Callable[[bytes], None]) -> None:
        try:
            with (self._folder / file.path).open("rb") as stored:
                stored.seek(start)
                while piece := stored.read(_PIECE_BYTES):
                    write(piece)
        except OSError as error:
            raise unreadable(file.path, error) from error


def match_files(where: str, patterns: Sequence[str], folder: Path) -> list[tuple[str, Path]]:
    """Return each file that matches, once: as the mixture would write it, and its path.

    Raises: InputError, naming `where`, when a pattern matches nothing or cannot be listed.
    """
    found: dict[Path, str] = {}
    for pattern in patterns:
        try:
            paths = sorted_glob(folder, pattern)
        except (ValueError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f'{where}: "{pattern}" cannot be listed: {reason}',
                "write a glob such as data/**/*.json.gz",
            ) from error
        if not paths:
            raise InputError(
                f'{where}: "{pattern}" matches no file below {folder}',
                "paths are relative to the mixture file; check the spelling, or pull the files",
            )
        found |= {path: _declared(path, folder) for path in paths}
    return [(declared, path) for path, declared in found.items()]


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
        raise InputError(f"{declared}: broken parquet: {reason}", PULL_AGAIN) from error
