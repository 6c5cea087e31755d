"""The plan of a pull: which locked files are missing, and whether there is room for them.

Only names and sizes are checked; whatever reads a file checks its bytes.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import ConfigError, MismatchError, OutputError
from pipeline.core.mirrored import mirror_of
from pipeline.core.units import format_bytes
from pipeline.sources.download.part_file import num_bytes_left, part_path
from pipeline.sources.lock.checksum import REMOVE, RESTORE_LOCKED, check_size, expected_digest
from pipeline.sources.lock.lock import Lock, LockedSource, locate
from pipeline.storage import StoredFile

_MAX_NAMED = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedFile:
    """One file of a source, and how much of it is on disk."""

    source: str
    """The source; the first by name, if several have the file."""
    file: StoredFile
    path: Path
    is_complete: bool
    num_bytes_present: int
    """What an earlier pull has left of it; all, if it is complete."""

    @property
    def num_bytes_missing(self) -> int:
        return self.file.num_bytes - self.num_bytes_present


@dataclass(frozen=True, kw_only=True, slots=True)
class DownloadPlan:
    """What a pull would do."""

    lock: Lock
    folder: Path
    """The mixture's, which local paths are relative to."""
    dest: Path
    """The folder of pulled files."""
    files: tuple[PlannedFile, ...]
    """Every file once, by source and path, complete ones included."""
    free_bytes: int
    """Free on the disk of `dest`."""

    @property
    def missing(self) -> tuple[PlannedFile, ...]:
        """The files to pull."""
        return tuple(file for file in self.files if not file.is_complete)

    @property
    def num_bytes_missing(self) -> int:
        return sum(file.num_bytes_missing for file in self.files)

    def check_room(self) -> None:
        """Insist that what is missing fits. Raises: OutputError."""
        is_passed_on = mirror_of(self.dest) is not None
        if self.num_bytes_missing > self.free_bytes and not is_passed_on:
            raise OutputError(
                f"{self.dest}: needs {format_bytes(self.num_bytes_missing)} more, and the disk has"
                f" {format_bytes(self.free_bytes)} of room",
                "make room, choose another --dest, or pull less with --sources or --limit-files",
            )


def plan_download(
    lock: Lock,
    folder: Path,
    dest: Path,
    *,
    sources: Sequence[str] | None = None,
    limit_files: int | None = None,
) -> DownloadPlan:
    """Look for the files of some sources, or of all; of each source the first `limit_files`.

    Raises: ConfigError for a source that is not locked; MismatchError, naming the files, when
    others are in their place.
    """
    for name in sources or ():
        if name not in lock.sources:
            raise ConfigError(
                f'--sources: got "{name}", expected some of {", ".join(lock.sources)}'
            )
    planned: dict[Path, PlannedFile] = {}
    mirror = mirror_of(dest)
    # A file that is listed late comes once more.
    stored = {} if mirror is None else mirror.sizes(dest)
    sizes = {dest / name: num_bytes for name, num_bytes in stored.items()}
    errors: list[MismatchError] = []
    for name, locked in lock.sources.items():
        if sources is not None and name not in sources:
            continue
        for file in locked.files[:limit_files]:
            path = locate(dest, folder, locked, file)
            if path in planned:
                continue
            try:
                planned[path] = _plan_file(name, locked, file, path, dest, sizes.get(path))
            except MismatchError as error:
                errors.append(error)
    if errors:
        lines = [error.message for error in errors[:_MAX_NAMED]]
        if len(errors) > _MAX_NAMED:
            lines.append(f"and {len(errors) - _MAX_NAMED:,} more")
        raise MismatchError("\n".join(lines), errors[0].hint)
    existing = next(path for path in (dest.absolute(), *dest.absolute().parents) if path.exists())
    return DownloadPlan(
        lock=lock,
        folder=folder,
        dest=dest,
        files=tuple(planned.values()),
        free_bytes=shutil.disk_usage(existing).free,
    )


def scratch_folder(dest: Path) -> Path:
    """Return where files are kept until they are complete."""
    return dest / ".partial"


def _plan_file(
    source: str,
    locked: LockedSource,
    file: StoredFile,
    path: Path,
    dest: Path,
    num_bytes: int | None,
) -> PlannedFile:
    if num_bytes is None:
        num_bytes = _size(path)
    is_complete, is_local = num_bytes is not None, locked.origin.kind == "path"
    if num_bytes is not None:
        hint = RESTORE_LOCKED if is_local else REMOVE
        check_size(str(path), num_bytes, file, hint)
        expected_digest(path, file)
    elif is_local:
        raise MismatchError(f"{path}: is gone", "restore the locked file")
    else:
        num_bytes = num_bytes_left(part_path(scratch_folder(dest), file), file)
    return PlannedFile(
        source=source,
        file=file,
        path=path,
        is_complete=is_complete,
        num_bytes_present=num_bytes,
    )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
