"""What a pull has ahead of it: which locked files are missing, and whether there is room for them.

Only names and sizes are looked at: whole files stand under their names alone, and a folder of a
commit never holds another's. Bytes are not read here: whatever is
made of a file checks them.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import ConfigError, MismatchError, OutputError
from pipeline.core.units import format_bytes
from pipeline.sources.download.fetch import part_path
from pipeline.sources.lock.checksum import expected_digest
from pipeline.sources.lock.entries import Lock, LockedSource
from pipeline.sources.lock.location import locate
from pipeline.storage import StoredFile

_MOST_NAMED = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """One file of a source, and how much of it is there."""

    source: str
    """The source; the first by name, if several have the file."""
    file: StoredFile
    """What was locked of it."""
    path: Path
    """Where it belongs."""
    is_whole: bool
    """Whether it lies there."""
    num_bytes_there: int
    """What an earlier pull has left of it; all, if it is whole."""

    @property
    def num_bytes_missing(self) -> int:
        """What is to come."""
        return self.file.num_bytes - self.num_bytes_there


@dataclass(frozen=True, kw_only=True, slots=True)
class DownloadPlan:
    """What a pull would do."""

    lock: Lock
    """What is pulled from."""
    folder: Path
    """The mixture's, which local paths are relative to."""
    dest: Path
    """The folder of pulled files."""
    wanted: tuple[Wanted, ...]
    """Every file once, by source and path; those that are whole included."""
    free_bytes: int
    """Room on the disk of `dest`."""

    @property
    def missing(self) -> tuple[Wanted, ...]:
        """The files to pull: as many requests."""
        return tuple(wanted for wanted in self.wanted if not wanted.is_whole)

    @property
    def num_bytes_missing(self) -> int:
        """What is to come."""
        return sum(wanted.num_bytes_missing for wanted in self.wanted)

    def of(self, source: str) -> tuple[Wanted, ...]:
        """Return what belongs to one source."""
        return tuple(wanted for wanted in self.wanted if wanted.source == source)

    def check_room(self) -> None:
        """Insist that what is missing fits. Raises: OutputError."""
        if self.num_bytes_missing > self.free_bytes:
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
    others lie in their place.
    """
    wanted: dict[Path, Wanted] = {}
    wrong: list[MismatchError] = []
    for name in _chosen(lock, sources):
        locked = lock.sources[name]
        for file in locked.files[:limit_files]:
            path = locate(dest, folder, locked, file)
            if path not in wanted:
                try:
                    wanted[path] = _look(name, locked, file, path, scratch_folder(dest))
                except MismatchError as error:
                    wrong.append(error)
    if wrong:
        raise _joined(wrong)
    return DownloadPlan(
        lock=lock,
        folder=folder,
        dest=dest,
        wanted=tuple(wanted.values()),
        free_bytes=_free_bytes(dest),
    )


def scratch_folder(dest: Path) -> Path:
    """Return where what came of files is kept until they are whole."""
    return dest / ".partial"


def _chosen(lock: Lock, sources: Sequence[str] | None) -> list[str]:
    unknown = [name for name in sources or () if name not in lock.sources]
    if unknown:
        raise ConfigError(
            f'--sources: got "{unknown[0]}", expected some of {", ".join(lock.sources)}'
        )
    return [name for name in lock.sources if sources is None or name in sources]


def _look(source: str, locked: LockedSource, file: StoredFile, path: Path, scratch: Path) -> Wanted:
    size = _size(path)
    if size is None:
        if locked.origin.kind == "path":
            raise MismatchError(f"{path}: is gone", "put back the file that was locked")
        came = _size(part_path(scratch, file)) or 0
        there = came if came <= file.num_bytes else 0
    else:
        if size != file.num_bytes:
            raise MismatchError(
                f"{path}: has {size:,} bytes, the lock says {file.num_bytes:,}",
                "put back the file that was locked, or lock again"
                if locked.origin.kind == "path"
                else "remove it and pull again",
            )
        expected_digest(path, file)
        there = size
    return Wanted(
        source=source, file=file, path=path, is_whole=size is not None, num_bytes_there=there
    )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _joined(errors: Sequence[MismatchError]) -> MismatchError:
    """Return one error for several, of which the first are told."""
    lines = [error.message for error in errors[:_MOST_NAMED]]
    if len(errors) > _MOST_NAMED:
        lines.append(f"and {len(errors) - _MOST_NAMED:,} more")
    return MismatchError("\n".join(lines), errors[0].hint)


def _free_bytes(dest: Path) -> int:
    there = next(path for path in (dest.absolute(), *dest.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free
