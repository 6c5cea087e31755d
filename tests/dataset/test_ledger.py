"""The ledger against another way of making it, from its documentation and a BLAKE3 library."""

import base64
import json
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from support.paths import REPOSITORY
from support.strategies import QUICK, cuts

from pipeline.core.arrays import Uint8Array
from pipeline.core.errors import InternalError
from pipeline.core.json_record import from_json, to_json
from pipeline.dataset import ledger
from pipeline.dataset.blake3 import row_digests
from pipeline.dataset.ledger import (
    ROWS_PER_NODE,
    Ledger,
    LedgerRecord,
    LedgerSpan,
    first_difference,
    join,
    multiset_of,
    root_of_multiset,
)

DOCUMENTATION = REPOSITORY / "docs" / "spec" / "ledger.md"

Row = list[int]


# Another way, from `docs/spec/ledger.md`.


def derived(what: str, data: bytes) -> bytes:
    return blake3(data, derive_key_context=f"ettin-data ledger-v1 {what}").digest()


def digest_of(row: Row) -> bytes:
    return blake3(b"".join(word.to_bytes(4, "little") for word in [len(row), *row])).digest()


def top_of(nodes: list[bytes]) -> bytes:
    """The top of the tree by its definition from above, where ours is made from below."""
    if len(nodes) < 2:
        return b"".join(nodes)
    left = 1
    while 2 * left < len(nodes):
        left *= 2
    return derived("parent", top_of(nodes[:left]) + top_of(nodes[left:]))


def describe_plainly(rows: list[Row]) -> dict[str, Any]:
    digests = [digest_of(row) for row in rows]
    parts = [digests[start : start + 1024] for start in range(0, len(rows), 1024)]
    nodes = [derived("node", b"".join(part)) for part in parts]
    total = sum(int.from_bytes(digest, "little") for digest in digests) % (1 << 256)
    return {
        "algorithm": "ledger-v1",
        "num_rows": len(rows),
        "sequence_root": derived("sequence", len(rows).to_bytes(8, "little") + top_of(nodes)).hex(),
        "multiset_root": total.to_bytes(32, "little").hex(),
        "nodes": base64.b64encode(b"".join(nodes)).decode(),
    }


# Builders.


def digests_of(rows: Sequence[Row]) -> Uint8Array:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return row_digests(np.array([token for row in rows for token in row], np.uint32), offsets)


def make_ledger(rows: Sequence[Row]) -> Ledger:
    span = LedgerSpan(start_row=0)
    span.add(digests_of(rows))
    return join([span])


def some_rows(num_rows: int, seed: int = 0) -> list[Row]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 50368, 1 + i % 3).tolist() for i in range(num_rows)]


def with_nodes(nodes: Uint8Array) -> Ledger:
    return Ledger(num_rows=len(nodes) * ROWS_PER_NODE, nodes=nodes, multiset=0)


def some_nodes(num_nodes: int, seed: int = 0) -> Uint8Array:
    return np.random.default_rng(seed).integers(0, 256, (num_nodes, 32), dtype=np.uint8)


# The encoding.


@pytest.mark.parametrize("num_rows", [0, 1, 2, 1023, 1024, 1025, 2048, 2049, 3072, 5127, 8192])
def test_a_ledger_is_as_its_documentation_says(num_rows: int) -> None:
    rows = some_rows(num_rows)
    made = make_ledger(rows)
    assert to_json(made.describe()) == describe_plainly(rows)
    assert made.nodes.shape == (-(-num_rows // 1024), 32)


def test_the_example_of_the_documentation_holds() -> None:
    blocks = re.findall(r"```json\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)
    rows, digests, described = (json.loads(block) for block in blocks)
    assert [digest.tobytes().hex() for digest in digests_of(rows)] == digests
    assert to_json(make_ledger(rows).describe()) == described


FROZEN = {
    0: (
        "641f65d8b6779de480fe1b1f2bbed41a3610d38a026187fd384b77a2aa727851",
        "0000000000000000000000000000000000000000000000000000000000000000",
    ),
    1: (
        "f1d29110a0043793cbf8e86590c571b5c15aa3b06237184fe60d81341c54bdd3",
        "1606310211f104545f7c70cc6b0ffb8ab10e5ec036828f7ea39a60d9325b5065",
    ),
    3: (
        "303af3597a2724acb16452cf1ceb0c8f98283b1e0dd9a01a8e83f96464bd1820",
        "22350fe8a805e9455ee81ca1b1b82d1bf884a90afecf8530e82642feaaee131d",
    ),
    1024: (
        "721eeb24a0c126d5edfa1cf7dc19915c01ef4fd4c671285c975f5534c3c907b5",
        "e3d46cb781c30730ea78fdde2c16d731aaa203898700ccabfa0d4c7a6a03c01a",
    ),
    5000: (
        "ea03b1308b5b4f6ab19cdc467e4835c521102f589969c53971dff41b59917411",
        "e37d20a4540cb8c9cb6aab292325bedb3bf8120da1483e7b4cb78dd811ca5e7c",
    ),
}


@pytest.mark.parametrize("num_rows", FROZEN)
def test_roots_are_frozen(num_rows: int) -> None:
    made = make_ledger([[i, i + 1] for i in range(num_rows)])
    assert (made.sequence_root, made.multiset_root) == FROZEN[num_rows]


@pytest.mark.parametrize("num_nodes", [*range(35), 63, 64, 65, 100, 1000])
def test_the_tree_from_below_has_the_top_of_the_tree_from_above(num_nodes: int) -> None:
    nodes = some_nodes(num_nodes)
    levels = Ledger(num_rows=0, nodes=nodes, multiset=0).levels
    assert levels[0] is nodes
    assert levels[-1].tobytes() == top_of([node.tobytes() for node in nodes])
    assert [len(level) for level in levels[1:]] == [-(-len(level) // 2) for level in levels[:-1]]


# How rows are split makes no difference; their order does.

SPLIT = some_rows(3 * ROWS_PER_NODE + 5, seed=1)
SPLIT_DIGESTS = digests_of(SPLIT)
SPLIT_DESCRIBED = describe_plainly(SPLIT)


def span_of(start: int, stop: int, batches: Sequence[int]) -> LedgerSpan:
    """A span of rows that come in batches, the sizes of which recur."""
    span = LedgerSpan(start_row=start)
    number = 0
    while start < stop:
        end = min(start + batches[number % len(batches)], stop)
        span.add(SPLIT_DIGESTS[start:end])
        start, number = end, number + 1
    return span


@QUICK
@given(cuts(len(SPLIT)), st.lists(st.integers(1, 2500), min_size=1, max_size=4))
def test_spans_and_batches_make_no_difference(places: list[int], batches: list[int]) -> None:
    spans = [span_of(start, stop, batches) for start, stop in pairwise(places)]
    assert to_json(join(spans).describe()) == SPLIT_DESCRIBED


@pytest.mark.parametrize("place", [0, 1, 1023, 1024, 1025, 2047, 2048, 2049, 3072, len(SPLIT)])
def test_a_cut_beside_a_node_makes_no_difference(place: int) -> None:
    spans = [span_of(0, place, [700]), span_of(place, len(SPLIT), [1, 1023])]
    assert to_json(join(spans).describe()) == SPLIT_DESCRIBED


@QUICK
@given(st.integers(1, 300), st.integers(1, 9))
def test_batch_and_world_size_make_no_difference(batch_size: int, world_size: int) -> None:
    spans = []
    for first in range(0, len(SPLIT), batch_size):
        last = min(first + batch_size, len(SPLIT))
        bounds = [first + (last - first) * rank // world_size for rank in range(world_size + 1)]
        # Each rank's slice of the step, hashed by itself.
        for start, stop in pairwise(bounds):
            spans.append(LedgerSpan(start_row=start))
            spans[-1].add(SPLIT_DIGESTS[start:stop])
    assert to_json(join(spans).describe()) == SPLIT_DESCRIBED


def test_a_span_that_does_not_follow_is_refused() -> None:
    with pytest.raises(InternalError, match=r"^ledger: got a span from row 11, expected row 10$"):
        join([span_of(0, 10, [10]), span_of(11, 20, [10])])


@QUICK
@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=3), max_size=12), st.data())
def test_the_multiset_is_of_any_order_and_the_sequence_of_one(
    rows: list[Row], data: st.DataObject
) -> None:
    other = data.draw(st.permutations(rows))
    one, two = make_ledger(rows), make_ledger(other)
    assert one.multiset_root == two.multiset_root
    assert (one.sequence_root == two.sequence_root) == (rows == other)


@QUICK
@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=2), max_size=8))
def test_other_rows_are_another_multiset(rows: list[Row]) -> None:
    root = make_ledger(rows).multiset_root
    assert make_ledger([*rows, [1]]).multiset_root != root
    if rows:
        assert make_ledger(rows[1:]).multiset_root != root
        assert make_ledger([[*rows[0], 0], *rows[1:]]).multiset_root != root


@QUICK
@given(st.lists(st.one_of(st.just(b"\xff" * 32), st.binary(min_size=32, max_size=32))))
def test_a_multiset_is_a_sum_of_little_endian_integers(digests: list[bytes]) -> None:
    array = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)
    total = sum(int.from_bytes(digest, "little") for digest in digests)
    assert multiset_of(array) == total % (1 << 256)
    assert root_of_multiset(total) == root_of_multiset(multiset_of(array))


# Where two sequences differ.


def differ_plainly(one: Uint8Array, other: Uint8Array) -> list[int]:
    pair = [[node.tobytes() for node in nodes] for nodes in (one, other)]
    most = max(map(len, pair))
    left, right = ([*nodes, *[b""] * (most - len(nodes))] for nodes in pair)
    return [node for node in range(most) if left[node] != right[node]]


@QUICK
@given(
    st.integers(0, 70), st.integers(0, 70), st.lists(st.integers(0, 69), max_size=4), st.booleans()
)
def test_differences_are_those_of_a_linear_scan(
    num_nodes: int, other_num_nodes: int, changed: list[int], swap: bool
) -> None:
    one, other = some_nodes(num_nodes), some_nodes(70)[:other_num_nodes].copy()
    one = some_nodes(70)[:num_nodes]
    for node in changed:
        if node < len(other):
            other[node, node % 32] ^= 1
    pair = (with_nodes(one), with_nodes(other))
    first, second = pair[::-1] if swap else pair
    expected = differ_plainly(one, other)
    assert first_difference(first, second) == (expected[0] if expected else None)


@pytest.mark.parametrize("num_nodes", [1, 2, 3, 7, 8, 9, 64, 65])
def test_every_single_change_is_found(num_nodes: int) -> None:
    one = with_nodes(some_nodes(num_nodes))
    for node in range(num_nodes):
        nodes = one.nodes.copy()
        nodes[node, 31] ^= 128
        assert first_difference(one, with_nodes(nodes)) == node


def test_the_first_row_that_differs_is_in_the_first_node_that_does() -> None:
    rows = some_rows(4000)
    for row in (0, 1023, 1024, 2500, 3999):
        changed = [*rows[:row], [7, 7, 7, 7], *rows[row + 1 :]]
        assert first_difference(make_ledger(rows), make_ledger(changed)) == row // 1024
    for num_rows in (3999, 3073, 3072, 3071, 1):
        assert first_difference(make_ledger(rows), make_ledger(rows[:num_rows])) == num_rows // 1024
    assert first_difference(make_ledger(rows), make_ledger(rows)) is None


def test_a_difference_is_found_by_few_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    same = ledger._same

    def counted(*arguments: Any) -> bool:
        compared.append(arguments[2:])
        return same(*arguments)

    monkeypatch.setattr(ledger, "_same", counted)
    one = with_nodes(some_nodes(50_000))
    for node in (0, 12_345, 49_999):
        compared.clear()
        nodes = one.nodes.copy()
        nodes[node] ^= 1
        assert first_difference(one, with_nodes(nodes)) == node
        # The top, and one for each of the 16 levels below it.
        assert len(compared) == 17


# As JSON.


@pytest.mark.parametrize("num_rows", [0, 1, 1024, 1025, 5000])
def test_a_description_gives_the_ledger_again(num_rows: int) -> None:
    made = make_ledger(some_rows(num_rows))
    described = json.loads(json.dumps(to_json(made.describe())))
    again = from_json(LedgerRecord, described).load()
    assert again.describe() == made.describe()
    assert first_difference(made, again) is None
    assert again.multiset == made.multiset


SOUND = to_json(make_ledger(some_rows(1500)).describe())
NODES = base64.b64decode(SOUND["nodes"])


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in SOUND.items() if key != name}


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "described",
    [
        *(without(name) for name in SOUND),
        {**SOUND, "more": 1},
        {**SOUND, "algorithm": "ledger-v2"},
        {**SOUND, "num_rows": 1501},
        {**SOUND, "num_rows": 3000},
        {**SOUND, "num_rows": -1},
        {**SOUND, "num_rows": "1500"},
        {**SOUND, "num_rows": 1500.0},
        {**SOUND, "num_rows": None},
        {**SOUND, "nodes": encoded(NODES[:32])},
        {**SOUND, "nodes": encoded(NODES[:-1])},
        {**SOUND, "nodes": encoded(NODES + NODES)},
        {**SOUND, "nodes": encoded(bytes([NODES[0] ^ 1]) + NODES[1:])},
        {**SOUND, "nodes": SOUND["nodes"] + "\n"},
        {**SOUND, "nodes": "?" + SOUND["nodes"][1:]},
        {**SOUND, "nodes": None},
        {**SOUND, "sequence_root": SOUND["multiset_root"]},
        {**SOUND, "sequence_root": SOUND["sequence_root"].upper()},
        {**SOUND, "sequence_root": 7},
        {**SOUND, "multiset_root": SOUND["multiset_root"].upper()},
        {**SOUND, "multiset_root": SOUND["multiset_root"][:-2]},
        {**SOUND, "multiset_root": SOUND["multiset_root"] + "00"},
        {**SOUND, "multiset_root": "zz" * 32},
        {**to_json(make_ledger(some_rows(1)).describe()), "num_rows": True},
    ],
)
def test_a_damaged_description_is_refused(described: dict[str, Any]) -> None:
    from_json(LedgerRecord, SOUND).load()
    with pytest.raises(ValueError, match=r"got |is not as ledger-v1 makes it|base64|hex"):
        from_json(LedgerRecord, described).load()
