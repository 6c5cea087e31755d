"""What the stand-in of the Hub serves: folders or made files, as repositories with commits."""

import hashlib
import os
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
REFS = ("main", "v1", "refs/convert/parquet")
# As a .gitattributes of the Hub has it: text of a moderate size is kept by git itself.
GIT_SUFFIXES = (".md", ".txt", ".yaml", ".yml", ".json", ".py", ".csv")


class Content:
    """The bytes of one file, and what they are called by."""

    def __init__(self, made: bytes | None, path: Path | None = None) -> None:
        """Take bytes, or the path where they lie."""
        self.made, self.path = made, path
        self.size = len(made) if made is not None else self._stat().st_size
        self.modified = 0.0 if path is None else self._stat().st_mtime

    def _stat(self) -> os.stat_result:
        assert self.path is not None
        return self.path.stat()

    def read(self) -> bytes:
        """Return all of it."""
        if self.made is not None:
            return self.made
        assert self.path is not None
        return self.path.read_bytes()

    def _digest(self, hasher: Any) -> str:
        if self.path is None:
            hasher.update(self.made)
        else:
            with self.path.open("rb") as file:
                while block := file.read(1 << 20):
                    hasher.update(block)
        digest: str = hasher.hexdigest()
        return digest

    @cached_property
    def sha256(self) -> str:
        """The digest that LFS knows it by."""
        return self._digest(hashlib.sha256())

    @cached_property
    def git_sha1(self) -> str:
        """The digest that git knows it by."""
        return self._digest(hashlib.sha1(b"blob %d\0" % self.size))

    def entry(self, name: str, *, lfs: bool, xet: bool) -> dict[str, Any]:
        """Return what a listing says of it."""
        told = {"type": "file", "oid": self.git_sha1, "size": self.size, "path": name}
        if not lfs:
            return told
        pointer = f"oid sha256:{self.sha256}\nsize {self.size}\n".encode()
        told["oid"] = hashlib.sha1(b"blob %d\0" % len(pointer) + pointer).hexdigest()
        told["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": len(pointer)}
        return told | ({"xetHash": hashlib.sha256(name.encode()).hexdigest()} if xet else {})


class Tree:
    """The files of one commit, or of a plain host."""

    def __init__(self, source: str | int) -> None:
        """Take a folder, or how many files to make."""
        self._source = source
        self._known: dict[tuple[str, int, int], Content] = {}
        self.pages: dict[Any, list[bytes]] = {}
        self.is_made = isinstance(source, int)

    @cached_property
    def _made(self) -> dict[str, None]:
        assert isinstance(self._source, int)
        return {f"data/{i // 1000:04d}/part-{i:06d}.jsonl.zst": None for i in range(self._source)}

    def names(self) -> list[str]:
        """Return the paths of all files."""
        if isinstance(self._source, int):
            return list(self._made)
        root = Path(self._source)
        return [one.relative_to(root).as_posix() for one in root.rglob("*") if one.is_file()]

    def get(self, name: str) -> Content | None:
        """Return a file, as it is now."""
        if isinstance(self._source, int):
            return Content(f"{name}\n".encode()) if name in self._made else None
        path = Path(self._source, name)
        if not name or not path.is_file():
            return None
        stat = path.stat()
        key = (name, stat.st_size, stat.st_mtime_ns)
        return self._known.setdefault(key, Content(None, path))


class Repo:
    """A data set or a model: its commits, and what its refs stand for."""

    def __init__(self, source: str | int) -> None:
        """Take what is in it at first."""
        self.commits = {COMMIT: Tree(source)}
        self.refs = dict.fromkeys(REFS, COMMIT)

    def push(self, source: str | int, ref: str) -> str:
        """Add a commit."""
        commit = hashlib.sha1(f"{len(self.commits)}".encode()).hexdigest()
        self.commits[commit] = Tree(source)
        self.refs[ref] = commit
        return commit

    def commit(self, revision: str) -> str | None:
        """Return what a revision stands for."""
        found = self.refs.get(revision, revision)
        return found if found in self.commits else None


def split_revision(rest: str) -> tuple[str, str]:
    """Split what follows `tree/` or `resolve/` into a revision and a path.

    A revision with a slash in it must come quoted.
    """
    revision, _, below = rest.partition("/")
    return unquote(revision), unquote(below)
