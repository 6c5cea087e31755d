"""MDS shards that are not on disk: each is fetched whole when a row of it is first needed.

Enters: a remote folder and its index. Leaves: copies of shards. Invariant: a copy has the
size and the digests that index and manifest name, or it is an error. Copies have no name on this
disk, so nothing is left of them, however the process ends.
"""

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.core.errors import InputError
from pipeline.core.files import writing
from pipeline.core.prefetch import Prefetcher
from pipeline.dataset.mds.pool import IndexEntry
from pipeline.storage import RemoteFolder

# Those with a length of their own, which an index may name.
_ALGORITHMS = {name for name in hashlib.algorithms_guaranteed if not name.startswith("shake")}


class RemoteShards:
    """The shards of a remote folder; while one is read, the next is fetched."""

    def __init__(
        self, folder: RemoteFolder, entries: Sequence[IndexEntry], digests: Mapping[str, str]
    ) -> None:
        """Note what there is; nothing is fetched. digests: by path, sha256 where it is known."""
        self._folder, self._entries, self._digests = folder, entries, digests
        self._next: tuple[int, Prefetcher[BinaryIO]] | None = None

    def __del__(self) -> None:
        self._drop_next()

    def shard(self, number: int) -> "NumberedShard":
        """Return a shard."""
        return NumberedShard(shards=self, number=number)

    def where(self, number: int) -> str:
        """Return the address of a shard."""
        return f"{self._folder.where}/{self._entries[number]['raw_data']['basename']}"

    def num_bytes(self, number: int) -> int:
        """Return how long a shard is, by the index."""
        return int(self._entries[number]["raw_data"]["bytes"])

    def fetch(self, number: int) -> BinaryIO:
        """Return a copy of a shard, open, which is gone when it is closed.

        Raises: InputError when it cannot be fetched, or differs from its index; OutputError on a
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
        digests = self._known_digests(raw)
        hashers = {algorithm: hashlib.new(algorithm) for algorithm in digests}
        with writing(Path(tempfile.gettempdir())), ExitStack() as stack:
            # It has no name, so nothing is left of it however the process ends.
            file = stack.enter_context(tempfile.TemporaryFile())

            def keep(piece: bytes) -> None:
                file.write(piece)
                for hasher in hashers.values():
                    hasher.update(piece)

            self._folder.remote_file(name).stream(0, size, keep, accepts_whole=True)
            for algorithm, hasher in hashers.items():
                if hasher.hexdigest() != digests[algorithm]:
                    raise self._error(
                        number,
                        f"{algorithm} is {hasher.hexdigest()}, expected {digests[algorithm]}",
                    )
            file.seek(0)
            stack.pop_all()
        return file

    def _known_digests(self, raw: dict[str, Any]) -> dict[str, str]:
        digests = dict(raw.get("hashes") or {})
        if raw["basename"] in self._digests:
            digests["sha256"] = self._digests[raw["basename"]]
        return {name: digest for name, digest in digests.items() if name in _ALGORITHMS}

    def _error(self, number: int, what: str) -> InputError:
        return InputError(
            f"{self.where(number)}: {what}", "build it again, or get the folder again"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberedShard:
    """One of the shards; a `RemoteShard`."""

    shards: RemoteShards
    """All of them."""
    number: int
    """Which one, in the order of the index."""

    @property
    def where(self) -> str:
        """Its address."""
        return self.shards.where(self.number)

    @property
    def num_bytes(self) -> int:
        """How long it is, by the index."""
        return self.shards.num_bytes(self.number)

    def fetch(self) -> BinaryIO:
        """Return a copy of it, open, which is gone when it is closed. Raises: InputError."""
        return self.shards.fetch(self.number)
