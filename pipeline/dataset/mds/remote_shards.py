"""Remote MDS shards: each is fetched whole when a row of it is first needed.

Copies are checked, and are unnamed temporary files: nothing is left however the process ends.
"""

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.core.errors import InputError
from pipeline.core.files import writing
from pipeline.core.prefetch import Prefetcher
from pipeline.dataset.mds.shard import RemoteShard
from pipeline.storage import RemoteFolder

# An index may name any; a "shake" has no digest length of its own.
_ALGORITHMS = {name for name in hashlib.algorithms_guaranteed if not name.startswith("shake")}


class RemoteShards:
    """The shards of a remote folder; while one is read, the next is fetched."""

    def __init__(
        self, folder: RemoteFolder, entries: Sequence[Mapping[str, Any]], digests: Mapping[str, str]
    ) -> None:
        """Fetch nothing yet. entries: of the index; digests: known sha256 by path."""
        self._folder, self._entries, self._digests = folder, entries, digests
        self._next: tuple[int, Prefetcher[BinaryIO]] | None = None

    def __del__(self) -> None:
        self._drop_next()

    def shards(self) -> list[RemoteShard]:
        return [
            RemoteShard(
                where=self._where(number),
                num_bytes=self._folder.num_bytes.get(entry["raw_data"]["basename"], 0),
                fetch=partial(self.fetch, number),
            )
            for number, entry in enumerate(self._entries)
        ]

    def _where(self, number: int) -> str:
        return f"{self._folder.where}/{self._entries[number]['raw_data']['basename']}"

    def fetch(self, number: int) -> BinaryIO:
        """Return an open copy of a shard, which is deleted when it is closed.

        Raises: InputError when it cannot be fetched or differs from its index; OutputError on a
        full disk.
        """
        if self._next is not None and self._next[0] == number and self._next[1].is_here:
            ahead, self._next = self._next[1], None
            file = ahead.take()
        else:
            self._drop_next()
            file = self._copy(number)
        if number + 1 < len(self._entries):
            copy = partial(self._copy, number + 1)
            self._next = number + 1, Prefetcher(copy, discard=lambda copied: copied.close())
        return file

    def _drop_next(self) -> None:
        if self._next is not None and self._next[1].is_here:
            self._next[1].drop()
        self._next = None

    def _copy(self, number: int) -> BinaryIO:
        raw = self._entries[number]["raw_data"]
        name, expected = raw["basename"], raw["bytes"]
        size = self._folder.num_bytes.get(name)
        if size is None:
            raise self._error(number, "is missing, and the index names it")
        if size != expected:
            raise self._error(number, f"got {size:,} bytes, expected {expected:,} by the index")
        digests = dict(raw.get("hashes") or {})
        if name in self._digests:
            digests["sha256"] = self._digests[name]
        hashers = {one: hashlib.new(one) for one in digests if one in _ALGORITHMS}
        with writing(Path(tempfile.gettempdir())), ExitStack() as stack:
            file = stack.enter_context(tempfile.TemporaryFile())

            def keep(piece: bytes) -> None:
                file.write(piece)
                for hasher in hashers.values():
                    hasher.update(piece)

            self._folder.remote_file(name).stream(0, size, keep, accepts_whole=True)
            for algorithm, hasher in hashers.items():
                got, expected = hasher.hexdigest(), digests[algorithm]
                if got != expected:
                    raise self._error(number, f"{algorithm} is {got}, expected {expected}")
            file.seek(0)
            stack.pop_all()
        return file

    def _error(self, number: int, what: str) -> InputError:
        return InputError(
            f"{self._where(number)}: {what}", "build it again, or get the folder again"
        )
