"""Same files: whether a worker sees the folders and the input files of the process of a build.

That process leaves a note in each folder. A worker reads it and answers with a note of its own, so
each has seen what the other wrote; of input files, some have the size that they have here.
"""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pipeline.core.errors import PipelineError
from pipeline.core.files import publish_beside
from pipeline.core.mirrored import mirror_of

HINT = "let all workers see the same files under the same paths, and write to --out"
_MOST_FILES = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Notes:
    """What a worker must see."""

    text: str
    """Unique to this run, in each of the notes."""
    paths: tuple[str, ...]
    """The notes."""
    sizes: tuple[tuple[str, int], ...]
    """Input files."""

    def looker(self) -> Callable[[], tuple[str, list[str], list[str]]]:
        """Return what a worker runs, of whatever version: its functions are sent by value.

        It returns the worker's host, a line for each thing that it does not see as it is here, and
        the notes that it has written.
        """
        text, paths, sizes = self.text, self.paths, self.sizes

        def look() -> tuple[str, list[str], list[str]]:
            import os
            import socket
            import time
            import uuid

            def read(path: str) -> str | None:
                # A network file system may need a moment.
                for pause in (0.1, 0.4, 1.5, 0):
                    try:
                        with open(path) as note:
                            return note.read()
                    except OSError:
                        time.sleep(pause)
                return None

            def seen_instead(folder: str) -> str:
                try:
                    names = sorted(os.listdir(folder))
                except OSError as error:
                    return str(error.strerror)
                more = ", …" if len(names) > 3 else ""
                return f"another folder, with {', '.join(names[:3]) or 'nothing'}{more}"

            lines, written = [], []
            for path in paths:
                folder = os.path.dirname(path)
                if read(path) != text:
                    lines.append(f"{folder}: {seen_instead(folder)}")
                    continue
                answer = f"{path}-{uuid.uuid4().hex}"
                try:
                    with open(answer, "w") as note:
                        note.write(text)
                    written.append(answer)
                except OSError as error:
                    lines.append(f"{folder}: cannot be written: {error.strerror}")
            for path, size in sizes:
                try:
                    found = os.stat(path).st_size
                except OSError as error:
                    lines.append(f"{path}: {error.strerror}")
                else:
                    if found != size:
                        lines.append(f"{path}: {found:,} bytes, {size:,} here")
            return socket.gethostname(), lines, written

        return look

    def unread(self, answers: Sequence[str]) -> list[str]:
        """Return a line for each answer of a worker that does not arrive here."""
        lines = []
        for path in map(Path, answers):
            try:
                found = path.read_text()
            except OSError:
                found = ""
            if found != self.text:
                lines.append(f"{path.parent}: what it writes does not arrive here")
        return lines


@contextmanager
def leaving_notes(folders: Sequence[Path], files: Sequence[Path]) -> Iterator[Notes]:
    """Leave a note in each folder while the block lasts; `files`: those that are there count.

    What mirrors a place in a store is another on each machine.
    """
    text = uuid.uuid4().hex
    sizes, paths = [], []
    for file in (one for one in files if mirror_of(one) is None):
        with suppress(OSError):
            sizes.append((str(file), file.stat().st_size))
    try:
        for folder in (one for one in folders if mirror_of(one) is None):
            path = folder / f".note-{text}"
            with publish_beside(path) as temporary:
                temporary.write_text(text)
            paths.append(path)
        yield Notes(text=text, paths=tuple(map(str, paths)), sizes=tuple(sizes[:_MOST_FILES]))
    finally:
        for path in paths:
            for left in (path, *path.parent.glob(f"{path.name}-*")):
                with suppress(OSError):
                    left.unlink()


@lru_cache(maxsize=8)
def look_once(notes: Notes) -> None:
    """Look, in a worker that may have joined later, before its first task of a build.

    Raises: PipelineError where it sees other files.
    """
    host, lines, _ = notes.looker()()
    if lines:
        raise PipelineError(f"--scheduler: {host} sees other files: {'; '.join(lines)}", HINT)
