"""The ledger: digests of ordered rows, by which two people compare orders in kilobytes.

Each row has a digest, each 1,024 rows a node. A tree over the nodes gives the root of the sequence,
a sum of the digests that of the multiset. `docs/spec/ledger.md` has the encoding, `ledger-v1`.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from blake3 import blake3

from pipeline.core.arrays import Uint8Array
from pipeline.core.errors import InternalError
from pipeline.dataset.blake3 import derive_pairs

Side = Literal["left", "right"]
ALGORITHM = "ledger-v1"
ROWS_PER_NODE = 1024
DIGEST_BYTES = 32
_MODULUS = 1 << (8 * DIGEST_BYTES)
_PARENT = f"ettin-data {ALGORITHM} parent"
# The hash of this context of BLAKE3.
_PARENT_KEY = bytes.fromhex("5c4d03678c505f394c72721b9d54427e828893e8b3d6103a8bd7e7e613a2536f")


def _derived(what: str, data: bytes | memoryview) -> bytes:
    return blake3(data, derive_key_context=f"ettin-data {ALGORITHM} {what}").digest()


def node_digest(digests: Uint8Array) -> bytes:
    """Return the node of the digests of its rows: uint8 [at most 1024, 32] -> 32 bytes."""
    return _derived("node", np.ascontiguousarray(digests).data.cast("B"))


def root_above(digest: bytes, path: Iterable[tuple[Side, bytes]], num_rows: int) -> str:
    """Return the root of the sequence, as hex, by a node of it and the path of `Ledger.path`."""
    for side, neighbour in path:
        pair = neighbour + digest if side == "left" else digest + neighbour
        digest = _derived("parent", pair)
    return _derived("sequence", num_rows.to_bytes(8, "little") + digest).hex()


def multiset_of(digests: Uint8Array) -> int:
    """Return the sum of digests, as little-endian integers, modulo 2^256."""
    # uint64 sums of 32-bit columns cannot overflow below 2^32 rows.
    columns = np.ascontiguousarray(digests).view("<u4").sum(axis=0, dtype=np.uint64)
    return sum(int(column) << (32 * i) for i, column in enumerate(columns)) % _MODULUS


def root_of_multiset(total: int) -> str:
    """Return a sum of digests as little-endian hex: the root of a multiset of rows."""
    return (total % _MODULUS).to_bytes(DIGEST_BYTES, "little").hex()


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerRecord:
    """A ledger, in a manifest."""

    algorithm: str
    num_rows: int
    sequence_root: str
    multiset_root: str
    nodes: str
    """The digests of the nodes, as base64."""

    def load(self) -> "Ledger":
        """Return the ledger. Raises: ValueError when it is invalid."""
        data = base64.b64decode(self.nodes)
        if self.num_rows < 0 or len(data) != -(-self.num_rows // ROWS_PER_NODE) * DIGEST_BYTES:
            raise ValueError(f"ledger: got {len(data)} bytes of nodes for {self.num_rows} rows")
        ledger = Ledger(
            num_rows=self.num_rows,
            nodes=np.frombuffer(data, np.uint8).reshape(-1, DIGEST_BYTES),
            multiset=int.from_bytes(bytes.fromhex(self.multiset_root), "little"),
        )
        # Anything else that is wrong, such as another spelling, shows in the description.
        if ledger.describe() != self:
            raise ValueError(f"ledger: is not as {ALGORITHM} makes it")
        return ledger


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The ledger of a whole sequence of rows."""

    num_rows: int
    nodes: Uint8Array
    """uint8 [ceil(num_rows / 1024), 32]."""
    multiset: int
    """Sum of the digests of all rows modulo 2^256."""

    @cached_property
    def levels(self) -> list[Uint8Array]:
        """The levels of the tree: the nodes first, the top, one digest, last.

        A digest without a neighbour goes up as it is. Without nodes there is one empty level.

        Source: RFC 9162, section 2.1.1, for the shape.
        """
        levels = [self.nodes]
        while len(below := levels[-1]) > 1:
            paired = len(below) // 2 * 2
            pairs = below[:paired].reshape(-1, 2 * DIGEST_BYTES)
            parents = derive_pairs(pairs, _PARENT, _PARENT_KEY)
            levels.append(np.concatenate([parents, below[paired:]]))
        return levels

    @property
    def sequence_root(self) -> str:
        """The root of the rows in order, as hex."""
        return root_above(self.levels[-1].tobytes(), [], self.num_rows)

    @property
    def multiset_root(self) -> str:
        """The root of the rows in any order, as hex."""
        return root_of_multiset(self.multiset)

    def path(self, node: int) -> list[tuple[Side, bytes]]:
        """Return the neighbours of a node and of all above it, from below, each with its side.

        With them anybody gets from the node to the root (`root_above`). One without a neighbour
        goes up as it is, and adds nothing.
        """
        path: list[tuple[Side, bytes]] = []
        for level in self.levels[:-1]:
            neighbour = node ^ 1
            if neighbour < len(level):
                path.append(("left" if neighbour < node else "right", level[neighbour].tobytes()))
            node //= 2
        return path

    def describe(self) -> LedgerRecord:
        return LedgerRecord(
            algorithm=ALGORITHM,
            num_rows=self.num_rows,
            sequence_root=self.sequence_root,
            multiset_root=self.multiset_root,
            nodes=base64.b64encode(self.nodes.tobytes()).decode(),
        )


def first_difference(one: Ledger, other: Ledger) -> int | None:
    """Return the first node that differs, by descent from the roots; None for equal sequences.

    If one sequence is longer, its first node beyond the other's end differs.
    """
    left, right = one.levels, other.levels
    top = max(len(left), len(right)) - 1
    if not len(one.nodes) and not len(other.nodes):
        return None
    if _same(left, right, top, 0):
        return None
    node = 0
    for level in range(top - 1, -1, -1):
        # If a parent differs, its first child does, or else the second.
        node *= 2
        if _same(left, right, level, node):
            node += 1
    return node


def _same(one: Sequence[Uint8Array], other: Sequence[Uint8Array], level: int, place: int) -> bool:
    """Return whether two trees have the same digest, and so the same nodes below it."""
    if any(level >= len(levels) or place >= len(levels[level]) for levels in (one, other)):
        return False
    return np.array_equal(one[level][place], other[level][place])


@dataclass(kw_only=True)
class LedgerSpan:
    """The ledger of a part of a sequence; digests outside whole nodes are kept to be joined."""

    start_row: int
    num_rows: int = 0
    multiset: int = 0
    """Sum of the digests of its rows modulo 2^256."""
    head: Uint8Array = field(default_factory=lambda: np.empty((0, DIGEST_BYTES), np.uint8))
    """uint8 [fewer than 1024, 32], digests of the rows before the first node boundary."""
    nodes: bytearray = field(default_factory=bytearray)
    """The digests of whole nodes, joined."""
    tail: Uint8Array = field(default_factory=lambda: np.empty((0, DIGEST_BYTES), np.uint8))
    """uint8 [fewer than 1024, 32], digests of the rows after the last whole node."""

    def add(self, digests: Uint8Array) -> None:
        """Append rows by their digests: uint8 [num_rows, 32]."""
        self.multiset = (self.multiset + multiset_of(digests)) % _MODULUS
        first = -(-self.start_row // ROWS_PER_NODE) * ROWS_PER_NODE
        in_head = min(max(first - self.start_row - self.num_rows, 0), len(digests))
        self.num_rows += len(digests)
        if in_head:
            self.head = np.concatenate([self.head, digests[:in_head]])
        rest = np.concatenate([self.tail, digests[in_head:]])
        whole = len(rest) // ROWS_PER_NODE * ROWS_PER_NODE
        for start in range(0, whole, ROWS_PER_NODE):
            self.nodes += node_digest(rest[start : start + ROWS_PER_NODE])
        self.tail = rest[whole:].copy()


def join(spans: Iterable[LedgerSpan]) -> Ledger:
    """Join consecutive spans, from row 0. Raises: InternalError when one does not follow."""
    nodes = bytearray()
    multiset = row = 0
    left = np.empty((0, DIGEST_BYTES), np.uint8)
    for span in spans:
        if span.start_row != row:
            raise InternalError(f"ledger: got a span from row {span.start_row}, expected row {row}")
        row += span.num_rows
        multiset = (multiset + span.multiset) % _MODULUS
        left = np.concatenate([left, span.head])
        if len(left) == ROWS_PER_NODE:
            nodes += node_digest(left)
            left = left[:0]
        if span.nodes or len(span.tail):
            nodes += span.nodes
            left = span.tail
    if len(left):
        nodes += node_digest(left)
    array = np.frombuffer(memoryview(nodes).toreadonly(), np.uint8).reshape(-1, DIGEST_BYTES)
    return Ledger(num_rows=row, nodes=array, multiset=multiset)
