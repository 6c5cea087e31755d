"""Packing: loops that follow the rules word by word are the oracle, and the reference's outputs."""

import hashlib
import json
import os
from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle.bins import cu_seqlens, fill_bins
from oracle.generator_masks import mask, mask_generator
from oracle.greedy_packer import Backlog, GreedySpec, pack, pack_next
from support import paths
from support.paths import SHARED
from support.strategies import QUICK

from pipeline.core import seeds
from pipeline.core.errors import ConfigError, InputError
from pipeline.core.ragged import Rows
from pipeline.dataset.mds.pool import Pool
from pipeline.feed.packing import Packed, pack_greedily, pack_window
from pipeline.order import apply_view, pcg64dxsm_permutation, view_lengths

GOLDEN = paths.GOLDEN / "packing.json"
REFERENCE = SHARED / "golden"
NAMES = ("reencode-1024", "reencode-8192-eos", "reencode-edge", "slice-1024", "slice-edge")
CLS_ID, SEP_ID, PAD_ID, MASK_ID = 50281, 50282, 50283, 50284

LENGTHS = np.array([5, 3, 8, 2, 6, 4, 7, 1, 3, 5, 2, 6, 4, 4, 8, 1, 2, 7, 3, 5])
SPEC = GreedySpec(batch_size=4, micro_batch_size=2, max_seq_len=8, buffer_size=12)


def bins_of(packed: Packed) -> list[list[int]]:
    """Return the sequences of each bin."""
    return [part.tolist() for part in np.split(packed.sequences, packed.offsets[1:-1])]


def sha256(array: np.ndarray[Any, Any], dtype: str = "<i8") -> str:
    """Return the digest of an array's bytes, row after row."""
    return hashlib.sha256(array.astype(dtype).tobytes()).hexdigest()


# greedy-best-fit-v1


def naive_greedy(
    lengths: list[int], spec: GreedySpec, num_bins_of: list[int], *, is_strict: bool = True
) -> tuple[list[list[list[int]]], list[int]]:
    """Return the bins of each batch and what is never packed, one sequence at a time.

    `is_strict` is the reference: a batch is taken only where more room than for it is left.
    """
    batches: list[list[list[int]]] = []
    source = deque(
        range(start, min(start + spec.batch_size, len(lengths)))
        for start in range(0, len(lengths), spec.batch_size)
    )
    waiting: deque[int] = deque()
    for num_bins in num_bins_of:
        room = [spec.capacity] * num_bins
        bins: list[list[int]] = [[] for _ in room]
        skipped: list[int] = []
        while True:
            if not waiting:
                while source and spec.buffer_size - len(waiting) >= spec.batch_size + is_strict:
                    if len(waiting) + spec.batch_size > spec.buffer_size - len(skipped):
                        break
                    waiting.extend(one for one in source.popleft() if lengths[one])
                if not waiting:
                    break
            sequence = waiting.popleft()
            fitting = [(left, i) for i, left in enumerate(room) if left >= lengths[sequence]]
            if fitting:
                _, best = min(fitting)
                room[best] -= lengths[sequence]
                bins[best].append(sequence)
            else:
                skipped.append(sequence)
        for sequence in skipped:
            waiting.appendleft(sequence)
        if [] in bins:
            waiting.extend(sequence for one in bins for sequence in one)
            break
        batches.append(bins)
    left = {*waiting, *(one for some in source for one in some if lengths[one])}
    return batches, sorted(left)


@st.composite
def greedy_cases(draw: st.DrawFn) -> tuple[list[int], GreedySpec, list[int]]:
    micro_batch_size = draw(st.integers(1, 3))
    batch_size = micro_batch_size * draw(st.integers(1, 3))
    spec = GreedySpec(
        batch_size=batch_size,
        micro_batch_size=micro_batch_size,
        max_seq_len=draw(st.integers(1, 12)),
        buffer_size=batch_size + draw(st.integers(1, 4 * batch_size)),
    )
    # Long lists with many that fit nowhere, so that the buffer runs full: lists that are drawn one
    # by one stay short.
    least = draw(st.sampled_from([0, 1, spec.capacity // 2]))
    numbers = seeds.random_numbers(draw(st.integers(0, 1 << 32)), draw(st.integers(0, 80)))
    lengths = [least + int(number) % (spec.capacity + 1 - least) for number in numbers]
    num_bins = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    return lengths, spec, (num_bins * 81)[:81]


@QUICK
@given(greedy_cases())
def test_greedy_batches_are_those_of_the_loop(
    case: tuple[list[int], GreedySpec, list[int]],
) -> None:
    lengths, spec, num_bins_of = case
    backlog, batches = Backlog(), []
    # No batch is empty, so there are no more of them than sequences.
    for num_bins in num_bins_of:
        made = pack_next(np.array(lengths, np.int64), spec, backlog, num_bins)
        if made is None:
            break
        packed, backlog = made
        batches.append(bins_of(packed))
        assert packed.lengths.sum() == sum(lengths[one] for one in packed.sequences)
    else:
        raise AssertionError("the packer never ends")
    expected, left = naive_greedy(lengths, spec, num_bins_of)
    assert batches == expected
    after = [one for one in range(backlog.position, len(lengths)) if lengths[one]]
    assert sorted([*backlog.sequences.tolist(), *after]) == left
    # Its strict inequality shows in what the reference fetches ahead, never in a bin.
    assert naive_greedy(lengths, spec, num_bins_of, is_strict=False) == (expected, left)


def test_greedy_packs_the_frozen_vector() -> None:
    first, second, third = pack(LENGTHS, SPEC)
    assert bins_of(first) == [[0, 1, 2], [3, 4, 5, 7, 8]]
    assert [one.tolist() for one in cu_seqlens(first)] == [[0, 5, 8, 16], [0, 2, 8, 12, 13, 16]]
    assert bins_of(second) == [[19, 18, 17, 15], [16, 14, 13, 10]]
    assert [one.tolist() for one in cu_seqlens(second)] == [[0, 5, 8, 15, 16], [0, 2, 10, 14, 16]]
    assert bins_of(third) == [[6, 9, 12], [11]]
    assert [one.tolist() for one in cu_seqlens(third)] == [[0, 7, 12, 16], [0, 6, 16]]


def test_greedy_takes_no_batch_that_its_buffer_may_not_hold() -> None:
    # Nothing fits beside the first two, so every sequence that was taken waits, the last in front.
    lengths = np.full(100, 16)
    spec = GreedySpec(batch_size=4, micro_batch_size=2, max_seq_len=8, buffer_size=20)
    made = pack_next(lengths, spec, Backlog())
    assert made is not None
    packed, backlog = made
    assert bins_of(packed) == [[0], [1]]
    # With 14 of 16 waiting there is room for one batch more, and with 18 for none.
    assert backlog.position == 20
    assert backlog.sequences.tolist() == list(range(19, 1, -1))


def test_greedy_ends_when_a_bin_stays_empty() -> None:
    lengths = np.array([4, 4, 4, 4])
    spec = GreedySpec(batch_size=4, micro_batch_size=2, max_seq_len=8, buffer_size=20)
    assert pack_next(lengths, spec, Backlog()) is None
    assert [bins_of(one) for one in pack(np.array([8, 8, 8, 8, 3]), spec)] == [[[0, 1], [2, 3]]]
    assert list(pack(np.array([], np.int64), spec)) == []


@QUICK
@given(lengths=st.lists(st.integers(1, 20), max_size=80), more=st.integers(0, 20))
def test_one_greedy_batch_holds_all_sequences(lengths: list[int], more: int) -> None:
    capacity = max(lengths, default=1) + more
    packed = pack_greedily(np.array(lengths, np.int64), capacity)
    assert sorted(packed.sequences.tolist()) == list(range(len(lengths)))
    if not lengths:
        assert packed.num_bins == 0
        return
    # It is the batch that the packer makes of as many bins, and nothing is left over.
    sizes = {"batch_size": len(lengths), "buffer_size": len(lengths) + 1}
    spec = GreedySpec(micro_batch_size=1, max_seq_len=capacity, **sizes)
    batches, left = naive_greedy(lengths, spec, [packed.num_bins])
    assert batches == [bins_of(packed)]
    assert left == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"micro_batch_size": 5}, "got micro_batch_size 5, batch_size 4, buffer_size 12, expected"),
        ({"micro_batch_size": 0}, "expected 1 <= micro_batch_size <= batch_size < buffer_size"),
        ({"buffer_size": 4}, "got micro_batch_size 2, batch_size 4, buffer_size 4, expected"),
        ({"max_seq_len": 0}, "packing: got max_seq_len 0, expected 1 or more"),
    ],
)
def test_greedy_refuses_sizes_that_cannot_pack(change: dict[str, int], message: str) -> None:
    sizes = {"batch_size": 4, "micro_batch_size": 2, "max_seq_len": 8, "buffer_size": 12}
    with pytest.raises(ConfigError, match=message):
        GreedySpec(**{**sizes, **change})


def test_greedy_refuses_a_sequence_that_no_bin_can_hold() -> None:
    lengths = np.array([3, 16, 17, 2])
    with pytest.raises(InputError, match="sequence 2: got 17 ids, expected at most 16"):
        pack_next(lengths, SPEC, Backlog())


# window-best-fit-v1


def naive_window(lengths: list[int], capacity: int) -> list[list[int]]:
    """Return the bins of a window, looking at every bin for every sequence."""
    room: list[int] = []
    bins: list[list[int]] = []
    for sequence in sorted(range(len(lengths)), key=lambda one: (-lengths[one], one)):
        fitting = [(left, i) for i, left in enumerate(room) if left >= lengths[sequence]]
        if not fitting:
            fitting = [(capacity, len(room))]
            room.append(capacity)
            bins.append([])
        _, best = min(fitting)
        room[best] -= lengths[sequence]
        bins[best].append(sequence)
    return bins


@QUICK
@given(
    case=st.one_of(st.integers(1, 20), st.integers(1, 300)).flatmap(
        lambda capacity: st.tuples(
            st.lists(st.integers(1, capacity), max_size=150), st.just(capacity)
        )
    )
)
def test_windows_are_packed_as_by_the_loop(case: tuple[list[int], int]) -> None:
    lengths, capacity = case
    packed = pack_window(np.array(lengths, np.int64), capacity)
    assert (bins_of(packed) if lengths else []) == naive_window(lengths, capacity)
    assert sorted(packed.sequences.tolist()) == list(range(len(lengths)))
    assert packed.lengths.tolist() == [lengths[one] for one in packed.sequences]


@pytest.mark.parametrize("most", [60, 700, 1024])
def test_a_large_window_is_packed_as_by_the_loop(most: int) -> None:
    # Many bins with the same room, so that which of them is the lowest matters.
    lengths = (1 + seeds.random_numbers(most, 2000) % np.uint64(most)).astype(np.int64)
    assert bins_of(pack_window(lengths, 1024)) == naive_window(lengths.tolist(), 1024)


def test_a_window_packs_the_frozen_vector() -> None:
    packed = pack_window(LENGTHS[:12], 10)
    assert bins_of(packed) == [[2, 3], [6, 1], [4, 5], [11, 8, 7], [0, 9], [10]]
    assert [one.tolist() for one in cu_seqlens(packed)] == [
        [0, 8, 10], [0, 7, 10], [0, 6, 10], [0, 6, 9, 10], [0, 5, 10], [0, 2, 10],
    ]  # fmt: skip


@pytest.mark.parametrize("length", [0, 11])
def test_a_window_refuses_rows_that_no_bin_can_hold(length: int) -> None:
    with pytest.raises(
        InputError, match=f"row 1 of its window: got {length} ids, expected 1 to 10"
    ):
        pack_window(np.array([10, length, 3, length]), 10)


# Bins filled


@QUICK
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=40), extra=st.integers(0, 5))
def test_bins_hold_every_sequence_whole_then_padding(lengths: list[int], extra: int) -> None:
    offsets = np.cumsum([0, *lengths])
    ids = np.arange(1, offsets[-1] + 1, dtype=np.uint32)
    packed = pack_window(np.array(lengths), 9 + extra)
    bins = fill_bins(packed, ids, offsets[packed.sequences], pad_id=0)
    assert bins.dtype == np.int64
    assert bins.shape == (packed.num_bins, 9 + extra)
    for row, bounds, sequences in zip(bins, cu_seqlens(packed), bins_of(packed), strict=True):
        assert bounds.dtype == np.int32
        parts = np.split(row, bounds[1:-1])
        for part, one in zip(parts, sequences, strict=False):
            assert part.tolist() == ids[offsets[one] : offsets[one + 1]].tolist()
        padding = parts[len(sequences) :]
        assert [set(part.tolist()) for part in padding] == [{0}] * len(padding)
        assert bounds[-1] == 9 + extra
    # Ids gathered in packed order give the same.
    gathered = np.concatenate([ids[offsets[one] : offsets[one + 1]] for one in packed.sequences])
    starts = np.cumsum(packed.lengths) - packed.lengths
    assert np.array_equal(fill_bins(packed, gathered, starts, pad_id=0), bins)


# Goldens


def describe_batch(
    packed: Packed, bins: np.ndarray[Any, Any], generator: np.random.Generator, mask_prob: float
) -> dict[str, Any]:
    """Return what the reference's goldens say of a batch."""
    inputs, labels = mask(bins, generator, mask_prob=mask_prob, mask_id=MASK_ID, pad_id=PAD_ID)
    bounds = cu_seqlens(packed)
    return {
        "input_ids_sha256": sha256(inputs),
        "labels_sha256": sha256(labels),
        "shape": list(inputs.shape),
        "cu_seqlens": [one.tolist() for one in bounds],
        "max_seqlen": [int(np.diff(one).max()) for one in bounds],
        "nonpad": int(packed.lengths.sum()),
    }


needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"the reference chain's outputs do not lie at {REFERENCE}"
)


def reference(name: str) -> tuple[dict[str, Any], Rows, GreedySpec]:
    """Return what a golden says, its rows in order as an encoder sees them, and how it packs."""
    told = json.loads((REFERENCE / name / "order" / "golden.json").read_bytes())
    sizes = ("batch_size", "micro_batch_size", "max_seq_len", "buffer_size")
    spec = GreedySpec(**{size: told["packer"][size] for size in sizes})
    pool = Pool.open(REFERENCE / name / "train")
    table = pool.table(CLS_ID, SEP_ID)
    setup = told["setup"]
    rows = pcg64dxsm_permutation(len(table), seed=setup["shuffle_seed"], epoch=setup["epoch"])
    rows = rows[: len(rows) // setup["world_size"] * setup["world_size"]].astype(np.int64)
    stored = table["length"].astype(np.int64)[rows]
    has_cls, has_sep = table["has_cls"][rows], table["has_sep"][rows]
    lengths = view_lengths(stored, has_cls, has_sep, "encoder", spec.max_seq_len)
    offsets = np.cumsum([0, *lengths])
    ids = apply_view(
        pool.gather(rows, stored), np.cumsum([0, *stored]), offsets, "encoder", CLS_ID, SEP_ID
    )
    return told, Rows(values=ids, offsets=offsets), spec


@needs_reference
@pytest.mark.parametrize("name", NAMES)
def test_greedy_batches_equal_the_reference_packer(name: str) -> None:
    told, rows, spec = reference(name)
    expected, setup = told["packer"], told["setup"]
    of_rank = slice(expected["rank"], None, setup["world_size"])
    starts, lengths = rows.offsets[:-1][of_rank], np.diff(rows.offsets)[of_rank]
    generator = mask_generator(expected["seed"], setup["epoch"])
    made = []
    for packed, _ in zip(pack(lengths, spec), expected["batches"], strict=False):
        bins = fill_bins(packed, rows.values, starts[packed.sequences], PAD_ID)
        made.append(describe_batch(packed, bins, generator, expected["mask_prob"]))
    assert len(made) == 8
    assert made == expected["batches"]


@needs_reference
@pytest.mark.parametrize("name", NAMES)
def test_windows_of_128_rows_are_fuller_than_the_reference_batches(name: str) -> None:
    told, rows, spec = reference(name)
    lengths = np.diff(rows.offsets)
    greedy = list(pack(lengths[:: told["setup"]["world_size"]], spec))
    windows = []
    for start in range(0, len(rows), 128):
        stop = start + 128
        windows.append(pack_window(lengths[start:stop], spec.capacity))
    assert sum(int(one.lengths.sum()) for one in windows) == rows.values.size
    assert 0.93 < share_of_ids(greedy) < share_of_ids(windows) < 1


def share_of_ids(batches: list[Packed]) -> float:
    """Return the share of positions that are not padding."""
    return sum(int(one.lengths.sum()) for one in batches) / sum(
        one.num_bins * one.capacity for one in batches
    )


def frozen_lengths() -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return 600 lengths of which many are short, many the longest, and a few none at all."""
    drawn = (seeds.random_numbers(seeds.derive_key(0, "packing"), 600) % np.uint64(160)).astype(
        np.int64
    )
    return np.minimum(drawn * drawn // 128, 128)


def test_packed_batches_equal_their_frozen_digests() -> None:
    lengths = frozen_lengths()
    offsets = np.cumsum([0, *lengths])
    drawn = seeds.random_numbers(seeds.derive_key(1, "packing"), int(offsets[-1])) % np.uint64(
        PAD_ID
    )
    ids = drawn.astype(np.uint32)

    spec = GreedySpec(batch_size=16, micro_batch_size=4, max_seq_len=128, buffer_size=80)
    generator = mask_generator(21, 0)
    greedy = []
    for packed in pack(lengths, spec):
        bins = fill_bins(packed, ids, offsets[packed.sequences], PAD_ID)
        described = describe_batch(packed, bins, generator, 0.3)
        greedy.append({"sequences_sha256": sha256(packed.sequences), **_short(described)})

    window = []
    rows = np.flatnonzero(lengths)
    for start in range(0, len(rows), 100):
        stop = start + 100
        packed = pack_window(lengths[rows[start:stop]], 128)
        bins = fill_bins(packed, ids, offsets[rows[start:stop]][packed.sequences], PAD_ID)
        window.append(
            {
                "sequences_sha256": sha256(packed.sequences),
                "offsets_sha256": sha256(packed.offsets),
                "input_ids_sha256": sha256(bins),
                "num_bins": packed.num_bins,
            }
        )

    made = {"greedy-best-fit-v1": greedy, "window-best-fit-v1": window}
    if os.environ.get("UPDATE_GOLDEN") == "1":
        GOLDEN.write_text(json.dumps(made, indent=1, sort_keys=True) + "\n")
    frozen = json.loads(GOLDEN.read_bytes())
    assert len(frozen["greedy-best-fit-v1"]) > 5
    assert len(frozen["window-best-fit-v1"]) == 6
    assert made == frozen


def _short(described: dict[str, Any]) -> dict[str, Any]:
    """Replace the positions in a description by their digest."""
    bounds = np.concatenate([np.array(one) for one in described.pop("cu_seqlens")])
    described.pop("max_seqlen")
    return {**described, "cu_seqlens_sha256": sha256(bounds)}
