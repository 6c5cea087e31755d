"""The ledger: rows in order -> digests that two people compare in kilobytes.

Enters: rows, as flat ids with offsets. Leaves: a digest of each row, a node for every 1,024 rows, a
tree over the nodes with one root for the sequence, and one root for the multiset. Batches, steps
and windows are ranges of rows, so nothing here depends on batch size, world size or shards.

The encoding, `ledger-v1`, is written down in `docs/ledger.md`.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from blake3 import blake3

from pipeline.errors import DefectError
from pipeline.records import Int64Array, Uint8Array, Uint32Array

ALGORITHM = "ledger-v1"
ROWS_PER_NODE = 1024
DIGEST_BYTES = 32
_MODULUS = 1 << (8 * DIGEST_BYTES)


def row_digests(ids: Uint32Array, offsets: Int64Array) -> Uint8Array:
    """Return the BLAKE3 digest of each row: uint8 [num_rows, 32].

    Of a row its length and then its ids are hashed, all as little-endian uint32.
    ids: uint32 [num_ids]; offsets: int64 [num_rows + 1].
    """
    digests = bytearray()
    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        length = np.array([stop - start], "<u4").tobytes()
        digests += blake3(length + ids[start:stop].astype("<u4", copy=False).tobytes()).digest()
    return np.frombuffer(bytes(digests), np.uint8).reshape(-1, DIGEST_BYTES)


def _derived(what: str, data: bytes | memoryview) -> bytes:
    return blake3(data, derive_key_context=f"ettin-data {ALGORITHM} {what}").digest()


def _node(digests: Uint8Array) -> bytes:
    return _derived("node", np.ascontiguousarray(digests).data.cast("B"))


def multiset_of(digests: Uint8Array) -> int:
    """Return the sum of digests, as little-endian integers, modulo 2^256."""
    # In uint64, columns of 32 bits cannot overflow below 2^32 rows.
    columns = np.ascontiguousarray(digests).view("<u4").sum(axis=0, dtype=np.uint64)
    return sum(int(column) << (32 * i) for i, column in enumerate(columns)) % _MODULUS


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """What is kept of a whole sequence of rows."""

    num_rows: int
    """How many rows there are."""
    nodes: Uint8Array
    """uint8 [ceil(num_rows / 1024), 32]."""
    multiset: int
    """Sum of the digests of all rows modulo 2^256."""

    @property
    def sequence_root(self) -> str:
        """The root of rows and their order, as hex."""
        levels = tree(self.nodes)
        top = levels[-1].tobytes() if len(self.nodes) else b""
        return _derived("sequence", self.num_rows.to_bytes(8, "little") + top).hex()

    @property
    def multiset_root(self) -> str:
        """The root of the rows, whatever their order, as hex."""
        return self.multiset.to_bytes(DIGEST_BYTES, "little").hex()

    def describe(self) -> dict[str, Any]:
        """Return the ledger as JSON-able values, for a manifest."""
        return {
            "algorithm": ALGORITHM,
            "num_rows": self.num_rows,
            "sequence_root": self.sequence_root,
            "multiset_root": self.multiset_root,
            "nodes": base64.b64encode(self.nodes.tobytes()).decode(),
        }

    @classmethod
    def from_description(cls, described: dict[str, Any]) -> "Ledger":
        """Return the ledger that a manifest describes.

        Raises: ValueError, KeyError or TypeError when it describes none, or its root is not that of
        its nodes.
        """
        nodes = np.frombuffer(base64.b64decode(described["nodes"], validate=True), np.uint8)
        ledger = cls(
            num_rows=int(described["num_rows"]),
            nodes=nodes.reshape(-1, DIGEST_BYTES),
            multiset=int.from_bytes(bytes.fromhex(described["multiset_root"]), "little"),
        )
        if described["algorithm"] != ALGORITHM or ledger.describe() != described:
            raise ValueError(f"got a ledger that is not as {ALGORITHM} makes it")
        return ledger


def tree(nodes: Uint8Array) -> list[Uint8Array]:
    """Return the levels of the tree over nodes, the nodes first and the top, one digest, last.

    A parent is of two digests beside each other; one without a neighbour goes up as it is.

    Source: RFC 9162, section 2.1.1, for the shape.
    """
    levels = [nodes]
    while len(levels[-1]) > 1:
        below = levels[-1]
        pairs = below[: len(below) // 2 * 2].reshape(-1, 2 * DIGEST_BYTES)
        parents = b"".join(_derived("parent", pair.data) for pair in pairs)
        level = np.frombuffer(parents, np.uint8).reshape(-1, DIGEST_BYTES)
        levels.append(np.concatenate([level, below[len(pairs) * 2 :]]))
    return levels


def first_difference(one: Ledger, other: Ledger) -> int | None:
    """Return the first node at which two sequences differ, by descent from the roots.

    None where they are equal. Where one goes on after the other's end, it is the first node that
    is not the same in both.
    """
    left, right = tree(one.nodes), tree(other.nodes)
    if one.num_rows == other.num_rows and np.array_equal(left[-1], right[-1]):
        return None
    node = 0
    for level in range(max(len(left), len(right)) - 2, -1, -1):
        # Of the two children, the first that differs; subtrees of one place are of equal rows.
        node *= 2
        if _same(left, right, level, node):
            node += 1
    return node


def _same(one: Sequence[Uint8Array], other: Sequence[Uint8Array], level: int, place: int) -> bool:
    if level >= len(one) or level >= len(other):
        return False
    if place >= len(one[level]) or place >= len(other[level]):
        return False
    return np.array_equal(one[level][place], other[level][place])


@dataclass(kw_only=True)
class Span:
    """The ledger of a part of a sequence, made by one task and joined with its neighbours'.

    Rows before its first whole node and after its last are kept as digests.
    """

    start_row: int
    """Position in the sequence of its first row."""
    num_rows: int = 0
    """How many rows were added."""
    multiset: int = 0
    """Sum of their digests modulo 2^256."""
    head: Uint8Array = field(default_factory=lambda: np.empty((0, DIGEST_BYTES), np.uint8))
    """uint8 [fewer than 1024, 32], digests of the rows before the first node boundary."""
    nodes: list[bytes] = field(default_factory=list)
    """The whole nodes."""
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
            self.nodes.append(_node(rest[start : start + ROWS_PER_NODE]))
        self.tail = rest[whole:].copy()


def join(spans: Iterable[Span]) -> Ledger:
    """Join spans that follow one another from row 0.

    Raises: DefectError when one does not begin where the one before ended.
    """
    nodes: list[bytes] = []
    multiset = row = 0
    left = np.empty((0, DIGEST_BYTES), np.uint8)
    for span in spans:
        if span.start_row != row:
            raise DefectError(f"ledger: got a span from row {span.start_row}, expected row {row}")
        row += span.num_rows
        multiset = (multiset + span.multiset) % _MODULUS
        left = np.concatenate([left, span.head])
        if len(left) == ROWS_PER_NODE:
            nodes.append(_node(left))
            left = left[:0]
        if span.nodes or len(span.tail):
            nodes += span.nodes
            left = span.tail
    if len(left):
        nodes.append(_node(left))
    array = np.frombuffer(b"".join(nodes), np.uint8).reshape(-1, DIGEST_BYTES)
    return Ledger(num_rows=row, nodes=array, multiset=multiset)
