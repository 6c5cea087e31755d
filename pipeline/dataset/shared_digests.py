"""Shared digests: what one rank has hashed, for the other ranks of a host.

A rank that takes few rows of a node would read the whole node to compare it with the ledger, and so
would every other rank. The first one leaves the digests of the node's rows in shared memory; the
others check these against the ledger and hash their own rows alone.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.core.arrays import Uint8Array
from pipeline.dataset.ledger import DIGEST_BYTES, ROWS_PER_NODE, Ledger, node_digest

_MEMORY = Path("/dev/shm")
# Ranks and their loader processes are at most some hundred nodes apart; 16 MiB in all.
_SLOTS = 512
_SLOT_BYTES = ROWS_PER_NODE * DIGEST_BYTES


@dataclass(kw_only=True)
class SharedDigests:
    """Digests of the rows of an order's latest nodes, in a file that the ranks of a host share.

    Nothing in the file is trusted: digests count if the ledger has their node. Where there is no
    shared memory, or none is left, each rank works for itself.
    """

    ledger: Ledger
    folder: Path = _MEMORY
    _opened: tuple[int, int | None] = field(default=(0, None), init=False, repr=False)
    """The process that opened the file, and its descriptor there; None if it cannot be opened."""

    @property
    def path(self) -> Path:
        """The file, of this user and order."""
        return self.folder / f"ettin-data-{os.getuid()}-{self.ledger.sequence_root}"

    def load(self, node: int) -> Uint8Array | None:
        """Return the digests of a node's rows, uint8 [num_rows, 32], or None if none are right."""
        num_rows = min(ROWS_PER_NODE, self.ledger.num_rows - node * ROWS_PER_NODE)
        descriptor = self._descriptor()
        if descriptor is None:
            return None
        try:
            data = os.pread(descriptor, num_rows * DIGEST_BYTES, _offset(node))
        except OSError:
            return None
        # Of another node, half-written, or not written yet.
        if len(data) < num_rows * DIGEST_BYTES or not any(data[:DIGEST_BYTES]):
            return None
        digests = np.frombuffer(data, np.uint8).reshape(num_rows, DIGEST_BYTES)
        return digests if node_digest(digests) == self.ledger.nodes[node].tobytes() else None

    def save(self, node: int, digests: Uint8Array) -> None:
        """Leave the digests of a node's rows, uint8 [num_rows, 32], for the other ranks."""
        descriptor = self._descriptor()
        if descriptor is not None:
            with suppress(OSError):
                os.pwrite(descriptor, np.ascontiguousarray(digests).data.cast("B"), _offset(node))

    @contextmanager
    def claim(self, node: int, *, waits: bool) -> Iterator[bool]:
        """Claim a node against other processes; yield False if one has it and `waits` is not set.

        A claim ends with its process, so nobody waits for a dead rank.
        """
        descriptor = self._descriptor()
        if descriptor is None:
            yield True
            return
        mode = fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB
        try:
            fcntl.lockf(descriptor, mode, 1, _offset(node))
        except OSError:
            # Whoever cannot lock, though there is nobody else, does not wait for ever.
            yield waits
            return
        try:
            yield True
        finally:
            fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, _offset(node))

    def _descriptor(self) -> int | None:
        process, descriptor = self._opened
        if process != os.getpid():
            descriptor = _open_own(self.path)
            self._opened = os.getpid(), descriptor
        return descriptor

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_opened": (0, None)}

    def __del__(self) -> None:
        process, descriptor = self._opened
        if process != os.getpid() or descriptor is None:
            return
        with suppress(OSError):
            # The last process that has it open removes it.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.path.unlink()
        os.close(descriptor)


def _open_own(path: Path) -> int | None:
    """Open the user's own file, or make it; None where that fails."""
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(path, flags, 0o600)
    except OSError:
        return None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        os.close(descriptor)
        return None
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def _offset(node: int) -> int:
    return node % _SLOTS * _SLOT_BYTES
