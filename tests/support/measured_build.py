"""Builds that are measured: what a folder holds at its peak, to the byte, and in how many files.

Sizes only grow between removals, so that the peak lies right before one of them, or at the end.
Python's audit events come before each removal, whoever asks for it.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_REMOVALS = ("os.remove", "os.rename", "os.truncate", "shutil.rmtree")


@dataclass(kw_only=True)
class Peak:
    """The largest state of a folder so far."""

    folder: Path
    num_bytes: int = 0
    num_files: int = 0
    """The most at any moment, which may be another."""
    by_kind: Mapping[str, int] = field(default_factory=dict)
    """Bytes at the peak, by the first folders of their paths."""

    def look(self) -> None:
        """Compare the folder with what was seen so far."""
        sizes = dict(_sizes(self.folder))
        self.num_files = max(self.num_files, len(sizes))
        if sum(sizes.values()) > self.num_bytes:
            self.num_bytes = sum(sizes.values())
            kinds: Counter[str] = Counter()
            for path, size in sizes.items():
                kinds[_kind(path)] += size
            self.by_kind = dict(sorted(kinds.items()))


_watched: list[Peak] = []


def _listen(event: str, arguments: tuple[object, ...]) -> None:
    if not _watched or event not in _REMOVALS:
        return
    peak = _watched.pop()  # Nothing that looking does is listened to.
    try:
        path = Path(str(arguments[1] if event == "os.rename" else arguments[0]))
        if path.is_relative_to(peak.folder) and os.path.lexists(path):
            peak.look()
    finally:
        _watched.append(peak)


@contextmanager
def watch(folder: Path) -> Iterator[Peak]:
    """Yield the peak of a folder, which is found on exit."""
    if not _hooked:
        sys.addaudithook(_listen)  # There is no way to take one away again.
        _hooked.append(True)
    peak = Peak(folder=folder)
    _watched.append(peak)
    try:
        yield peak
        peak.look()
    finally:
        _watched.remove(peak)


_hooked: list[bool] = []


def _sizes(folder: Path) -> Iterator[tuple[str, int]]:
    for where, _, names in os.walk(folder):
        for name in names:
            path = Path(where, name)
            yield path.relative_to(folder).as_posix(), path.stat().st_size


def _kind(path: str) -> str:
    parts = path.split("/")
    if parts[0] == "validation" and len(parts) > 1:
        return "validation/" + _kind("/".join(parts[1:]))
    depth = 2 if parts[0] in (".ettin", "provenance") and len(parts) > 2 else 1
    return "/".join(parts[:depth])
