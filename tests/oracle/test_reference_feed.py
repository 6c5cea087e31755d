"""The reference's batches: its own outputs, and the packer over all lengths, are the oracle."""

import hashlib
import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.paths import SHARED
from support.rows import CLS, SEP, SPECIAL, rows_of
from support.strategies import QUICK

from oracle.bins import cu_seqlens
from oracle.generator_masks import mask_generator
from oracle.greedy_packer import GreedySpec, pack
from oracle.reference_feed import PackedBatch, ReferenceFeed
from pipeline.core import seeds
from pipeline.core.arrays import Int64Array
from pipeline.core.errors import ConfigError, InputError, MismatchError
from pipeline.core.ragged import Rows
from pipeline.dataset.mds.pool import Pool
from pipeline.order import pcg64dxsm_permutation
from pipeline.stages.tokenizer import SpecialIds

REFERENCE = SHARED / "golden"
NAMES = ("reencode-1024", "reencode-8192-eos", "reencode-edge", "slice-1024", "slice-edge")
SPEC = GreedySpec(batch_size=4, micro_batch_size=2, max_seq_len=16, buffer_size=12)


class RowsInMemory:
    """Rows of an order that are at hand; takes note of what is asked for."""

    def __init__(self, rows: list[list[int]]) -> None:
        self._rows = rows
        self.taken: list[int] = []

    @property
    def num_rows(self) -> int:
        return len(self._rows)

    def take(self, rows: Int64Array) -> Rows:
        assert (np.diff(rows) > 0).all(), "rows are asked for rising"
        self.taken += rows.tolist()
        return rows_of(*[self._rows[row] for row in rows])


class PoolRows:
    """A pool in an order."""

    def __init__(self, folder: Path, seed: int, epoch: int) -> None:
        self._pool = Pool.open(folder)
        self._lengths = self._pool.lengths()
        self._samples = pcg64dxsm_permutation(len(self._lengths), seed=seed, epoch=epoch).astype(
            np.int64
        )

    @property
    def num_rows(self) -> int:
        return len(self._samples)

    def take(self, rows: Int64Array) -> Rows:
        samples = self._samples[rows]
        lengths = self._lengths[samples]
        ids = self._pool.gather(samples, lengths)
        return Rows(values=ids, offsets=np.cumsum([0, *lengths]))


def made(num_rows: int, seed: int = 0) -> list[list[int]]:
    """Return rows of 1 to 20 ids; some are cut by the view, some lack CLS or SEP."""
    if not num_rows:
        return []
    lengths = 1 + seeds.random_numbers(seed, num_rows) % np.uint64(20)
    ids = seeds.random_numbers(seed + 1, int(lengths.sum())) % np.uint64(50)
    return [
        part.tolist() for part in np.split(ids.astype(int), np.cumsum(lengths)[:-1].astype(int))
    ]


def feed_of(rows: list[list[int]], **changed: Any) -> ReferenceFeed:
    told: dict[str, Any] = {
        "rows": RowsInMemory(rows),
        "digest": "0" * 64,
        "spec": SPEC,
        "special": SPECIAL,
        "mask_prob": 0.3,
        "seed": 21,
    }
    return ReferenceFeed(**{**told, **changed})


def described(batch: PackedBatch) -> dict[str, Any]:
    """Return all that a batch holds, for comparison."""
    values = {
        name: [np.asarray(one).tolist() for one in value] for name, value in batch.inputs.items()
    }
    return {**values, "rows": batch.rows.tolist(), "num_tokens": batch.num_tokens}


@pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"the reference chain's outputs do not lie at {REFERENCE}"
)
@pytest.mark.parametrize("name", NAMES)
def test_batches_equal_those_of_the_reference(name: str) -> None:
    told = json.loads((REFERENCE / name / "order" / "golden.json").read_bytes())
    packer, setup = told["packer"], told["setup"]
    sizes = ("batch_size", "micro_batch_size", "max_seq_len", "buffer_size")
    special = SpecialIds(
        cls_id=50281,
        sep_id=50282,
        pad_id=50283,
        mask_id=50284,
        is_special=np.zeros(50368, np.bool_),
    )
    feed = ReferenceFeed(
        rows=PoolRows(REFERENCE / name / "train", setup["shuffle_seed"], setup["epoch"]),
        digest="0" * 64,
        spec=GreedySpec(**{size: packer[size] for size in sizes}),
        special=special,
        mask_prob=packer["mask_prob"],
        seed=packer["seed"],
        epoch=setup["epoch"],
        rank=packer["rank"],
        world_size=setup["world_size"],
    )
    batches = list(islice(feed, len(packer["batches"])))
    assert len(batches) == 8
    for batch, expected in zip(batches, packer["batches"], strict=True):
        inputs = batch.inputs
        assert {
            "input_ids_sha256": hashlib.sha256(inputs["input_ids"].tobytes()).hexdigest(),
            "labels_sha256": hashlib.sha256(inputs["labels"].tobytes()).hexdigest(),
            "shape": list(inputs["input_ids"].shape),
            "cu_seqlens": [one.tolist() for one in inputs["cu_seqlens"]],
            "max_seqlen": inputs["max_seqlen"],
            "nonpad": int(inputs["attention_mask"].sum()),
        } == expected
        assert batch.num_tokens == expected["nonpad"]


@QUICK
@given(
    num_rows=st.integers(0, 260),
    seed=st.integers(0, 20),
    world_size=st.integers(1, 3),
    masks=st.booleans(),
    data=st.data(),
)
def test_batches_are_those_of_the_packer_over_all_rows(
    num_rows: int, seed: int, world_size: int, masks: bool, data: st.DataObject
) -> None:
    rows, rank = made(num_rows, seed), data.draw(st.integers(0, world_size - 1))
    feed = feed_of(rows, rank=rank, world_size=world_size, mask_prob=0.3 if masks else None)
    mine = [
        viewed(row, ends=masks)
        for row in rows[: num_rows // world_size * world_size][rank::world_size]
    ]
    expected = list(pack(np.array([len(row) for row in mine], np.int64), SPEC))
    batches = list(feed)
    assert len(batches) == feed.num_batches == len(expected)
    fed: list[int] = []
    for batch, packed in zip(batches, expected, strict=True):
        assert batch.rows.tolist() == (rank + packed.sequences * world_size).tolist()
        assert [one.tolist() for one in batch.inputs["cu_seqlens"]] == [
            one.tolist() for one in cu_seqlens(packed)
        ]
        fed += batch.rows.tolist()
        found = batch.inputs["labels"] if masks else batch.inputs["input_ids"]
        bins = np.split(packed.sequences, packed.offsets[1:-1])
        for row, sequences in zip(found, bins, strict=True):
            ids = [one for sequence in sequences for one in mine[sequence]]
            assert all(a in (b, -100) for a, b in zip(row.tolist(), ids, strict=False))
            assert masks or row[: len(ids)].tolist() == ids
    assert len(set(fed)) == len(fed)
    assert feed.num_rows_left == len(mine) - len(fed)


def viewed(row: list[int], *, ends: bool) -> list[int]:
    """Return a row as the loader makes it."""
    row = (row if row[0] == CLS else [CLS, *row])[:16]
    return [*row[:15], SEP] if ends and row[-1] != SEP else row


@pytest.mark.parametrize("mask_prob", [0.3, None])
def test_a_feed_goes_on_from_its_state(mask_prob: float | None) -> None:
    rows = made(300)
    whole = [described(batch) for batch in feed_of(rows, mask_prob=mask_prob, world_size=2)]
    assert len(whole) > 10
    for stop in range(len(whole) + 1):
        first = feed_of(rows, mask_prob=mask_prob, world_size=2)
        before = [described(batch) for batch in islice(first, stop)]
        state = json.loads(json.dumps(first.state_dict(1, True)))
        assert len(json.dumps(state)) < 1500
        then = feed_of(rows, mask_prob=mask_prob, world_size=2)
        then.load_state_dict(state)
        assert then.state_dict() == first.state_dict()
        assert before + [described(batch) for batch in then] == whole
        # Nothing before the state is read again but the rows that wait.
        taken = then.rows.taken  # type: ignore[attr-defined]
        assert set(taken) <= set(state["waiting"]) | set(range(2 * state["position"], 300))


def test_a_feed_may_be_iterated_again_where_it_stopped() -> None:
    rows = made(200)
    whole = [described(batch) for batch in feed_of(rows)]
    feed = feed_of(rows)
    parts = []
    while some := [described(batch) for batch in islice(feed, 3)]:
        parts += some
    assert parts == whole


def test_a_decoder_is_given_causal_labels() -> None:
    rows = [[CLS, 1, 2, 3], [CLS, 4, SEP], [CLS, 5], [CLS, 6], *made(40)]
    spec = GreedySpec(batch_size=4, micro_batch_size=4, max_seq_len=16, buffer_size=12)
    batch = next(iter(feed_of(rows, mask_prob=None, spec=spec)))
    labels, ids = batch.inputs["labels"][0], batch.inputs["input_ids"][0]
    assert ids[:11].tolist() == [CLS, 1, 2, 3, CLS, 4, SEP, CLS, 5, CLS, 6]
    assert labels[:11].tolist() == [-100, 1, 2, 3, -100, 4, SEP, -100, 5, -100, 6]
    is_padding = batch.inputs["attention_mask"][0] == 0
    assert is_padding.any()
    assert (labels[is_padding] == -100).all()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"rank": 1}, "rank: got 0, expected 1"),
        ({"world_size": 4}, "world_size: got 2, expected 4"),
        ({"digest": "1" * 64}, "order: got '0000.*, expected '1111"),
        ({"seed": 22}, "seed: got 21, expected 22"),
        ({"epoch": 1}, "epoch: got 0, expected 1"),
        ({"mask_prob": None}, "mask_prob: got 0.3, expected None"),
        (
            {"spec": GreedySpec(batch_size=4, micro_batch_size=2, max_seq_len=16, buffer_size=20)},
            "buffer_size: got 12, expected 20",
        ),
    ],
)
def test_a_state_of_another_rank_or_packing_is_refused(change: dict[str, Any], name: str) -> None:
    rows = made(60)
    state = feed_of(rows, world_size=2).state_dict()
    with pytest.raises(MismatchError, match=f"state: {name}"):
        feed_of(rows, **{"world_size": 2, **change}).load_state_dict(state)


@pytest.mark.parametrize("state", [{}, {"format": "ettin-feed-v1"}, [1], None])
def test_what_is_no_state_is_refused(state: Any) -> None:
    with pytest.raises(InputError, match="expected one of the format 'reference-feed-v1'"):
        feed_of(made(8)).load_state_dict(state)


@pytest.mark.parametrize("rank", [-1, 2])
def test_a_rank_that_there_is_not_is_refused(rank: int) -> None:
    with pytest.raises(ConfigError, match=f"rank: got {rank} of world size 2, expected one of 0"):
        feed_of(made(8), rank=rank, world_size=2)


def test_the_generator_is_the_reference_s_own() -> None:
    feed = feed_of(made(80), seed=20, epoch=1)
    batch = next(iter(feed))
    uniform = mask_generator(21, 0).random(batch.inputs["input_ids"].shape)
    is_label = batch.inputs["labels"] != -100
    assert np.array_equal(is_label, (uniform < 0.3) & (batch.inputs["attention_mask"] == 1))
