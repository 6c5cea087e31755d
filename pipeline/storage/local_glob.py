"""Local globs: a pattern below a folder -> the files that it reaches, and what it reaches besides.

`*`, `?` and `[...]` stop at a slash; `**`, as a whole part, stands for any number of folders, and
at the end for all files below. A part that exists as written is taken as written. Entries whose
names begin with a dot are matched only by parts that begin with one. Links are followed.

Nothing is passed over: what is reached and cannot be read, or is reached by two names, is returned
with the reason.
"""

import errno
import os
import re
import stat
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from glob import has_magic
from itertools import takewhile
from pathlib import Path

_ABSENT = (errno.ENOENT, errno.ENOTDIR)
_ANY_DEPTH = "**"


@dataclass(frozen=True, slots=True)
class Reached:
    """What patterns reach."""

    files: dict[Path, None] = field(default_factory=dict)
    """Readable files, in the order of the patterns, those of one pattern sorted by path."""
    unreadable: dict[Path, str] = field(default_factory=dict)
    """Everything else, and why it is no readable file."""


Taken = dict[tuple[int, int], Path]
"""Files by device and inode, under the name that reached them first."""


def reach_files(folder: Path, pattern: str, taken: Taken | None = None) -> Reached:
    """Return what a pattern relative to `folder` reaches.

    taken: what other patterns reached, which grows.

    Raises: ValueError for no pattern.
    """
    parts = list(Path(pattern).parts)
    if not parts or "\0" in pattern:
        raise ValueError("no pattern")
    if parts[-1] == _ANY_DEPTH:
        parts.append("*")
    reached = Reached()
    taken = {} if taken is None else taken
    _Walk(reached, taken, takes_folders=parts[-2:] != [_ANY_DEPTH, "*"]).follow(folder, parts)
    return Reached(dict.fromkeys(sorted(reached.files)), dict(sorted(reached.unreadable.items())))


def fixed_folder(folder: Path, pattern: str) -> Path:
    """Return the path that a pattern names before its first wildcard. Pure."""
    return folder.joinpath(*takewhile(lambda part: not has_magic(part), Path(pattern).parts))


class _Walk:
    """One walk along a pattern; it fills `reached`."""

    def __init__(self, reached: Reached, taken: Taken, *, takes_folders: bool) -> None:
        self._reached, self._taken = reached, taken
        # Below `**`, what a folder holds is reached by itself.
        self._takes_folders = takes_folders
        self._listed: dict[tuple[int, int, int], Path] = {}

    def follow(self, folder: Path, pattern: Sequence[str]) -> None:
        """Follow the parts of a pattern from `folder` on, the upper folders first."""
        left = deque([(folder, tuple(pattern))])
        while left:
            path, parts = left.popleft()
            if not parts:
                self._take(path)
                continue
            part, rest = parts[0], parts[1:]
            if part == _ANY_DEPTH:
                left.append((path, rest))
                below = self._entries(path, "*", parts, are_folders=True)
                left.extend((entry, parts) for entry in below)
            elif not has_magic(part) or os.path.lexists(path / part):
                left.append((path / part, rest))
            else:
                below = self._entries(path, part, parts, are_folders=bool(rest))
                left.extend((entry, rest) for entry in below)

    def _entries(
        self, path: Path, part: str, parts: tuple[str, ...], *, are_folders: bool
    ) -> list[Path]:
        """Return what matches one part in a folder, unless the folder was listed before."""
        try:
            status = path.stat()
            first = self._listed.setdefault((status.st_dev, status.st_ino, len(parts)), path)
            if first != path:
                self._refuse(path, f"leads to {first}, which the pattern reaches too")
                return []
            names = sorted(os.listdir(path))
        except OSError as error:
            if error.errno not in _ABSENT:
                self._refuse(path, f"cannot be read: {error.strerror}")
            return []
        matches = re.compile(translate(part)).match
        found = [name for name in names if matches(name)]
        if not part.startswith("."):
            found = [name for name in found if not name.startswith(".")]
        return [path / name for name in found if not are_folders or self._is_folder(path / name)]

    def _is_folder(self, path: Path) -> bool:
        status = self._status(path)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def _status(self, path: Path) -> os.stat_result | None:
        """Return what a path leads to; None where there is nothing, which a link does not say."""
        try:
            return path.stat()
        except OSError as error:
            if os.path.islink(path):
                self._refuse(path, f"is a link to {os.readlink(path)}: {error.strerror}")
            elif error.errno not in _ABSENT:
                self._refuse(path, f"cannot be read: {error.strerror}")
            return None

    def _take(self, path: Path) -> None:
        status = self._status(path)
        if status is None:
            return
        if stat.S_ISDIR(status.st_mode):
            if self._takes_folders:
                self._refuse(path, "is a folder")
        elif not stat.S_ISREG(status.st_mode):
            self._refuse(path, "is no regular file")
        elif not os.access(path, os.R_OK):
            self._refuse(path, f"cannot be read: {os.strerror(errno.EACCES)}")
        else:
            first = self._taken.setdefault((status.st_dev, status.st_ino), path)
            if first != path and _is_one_file(first, path):
                self._refuse(path, f"leads to {first}, which is reached too")
            else:
                self._reached.files[path] = None

    def _refuse(self, path: Path, reason: str) -> None:
        self._reached.unreadable[path] = reason


def _is_one_file(one: Path, other: Path) -> bool:
    """Whether two names lead to one file, and one of them is its own; hard links are two files.

    Two links to one file elsewhere are two files, too: caches store equal files once.
    """
    are_links = one.is_symlink() and other.is_symlink()
    return not are_links and os.path.realpath(one) == os.path.realpath(other)
