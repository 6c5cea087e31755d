"""Packed feeds: the rows and masks of the unpacked feed, in bins, from any row, on any ranks."""

from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fed_rows import MLM, OBJECTIVES, PAD, Listed, a_feed, an_order, array, by_row, made
from support.strategies import QUICK

from pipeline.core.errors import ConfigError
from pipeline.feed.batch import Batch
from pipeline.feed.factory import make_feed
from pipeline.feed.packing import PACKERS

ROWS = made(48)
CAPACITY = 9


def check_bins(batch: Batch) -> None:
    """Check that documents lie whole in bins, and all else is padding."""
    ids = array(batch, "input_ids")
    bounds = array(batch, "cu_seq_lens_q")
    positions = array(batch, "position_ids").reshape(-1)
    assert ids.shape[1] == CAPACITY
    assert bounds.dtype == np.int32
    assert (bounds[0], bounds[-1]) == (0, ids.size)
    assert set(range(0, ids.size, CAPACITY)) <= set(bounds.tolist())
    assert positions.tolist() == [one for size in np.diff(bounds) for one in range(size)]
    assert batch.inputs["max_length_q"] == np.diff(bounds).max()
    assert (ids != PAD).sum() >= batch.num_tokens


def rows_of(batches: list[Batch]) -> dict[int, list[list[int]]]:
    """Return ids, and labels if there are any, of each row; none twice."""
    found: dict[int, list[list[int]]] = {}
    for batch in batches:
        keys = [key for key in ("input_ids", "labels") if key in batch.inputs]
        flat = [array(batch, key).reshape(-1) for key in keys]
        bounds = array(batch, "cu_seq_lens_q")
        documents = [(start, stop) for start, stop in pairwise(bounds) if flat[0][start] != PAD]
        if not len(batch.rows):
            continue
        for row, (start, stop) in zip(batch.rows.tolist(), documents, strict=True):
            assert row not in found
            found[row] = [one[start:stop].tolist() for one in flat]
    return found


@QUICK
@given(
    packing=st.sampled_from(sorted(PACKERS)),
    objective=st.sampled_from(OBJECTIVES),
    world_sizes=st.tuples(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 8])),
    micro_batch_rows=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    num_first=st.integers(0, 12),
)
def test_packed_rows_are_those_of_the_feed_whatever_the_ranks_and_resumes(
    packing: Any,
    objective: Any,
    world_sizes: tuple[int, int],
    micro_batch_rows: tuple[int, int],
    num_first: int,
) -> None:
    told = {"objective": objective, "max_seq_len": CAPACITY}
    whole = rows_of(list(a_feed(ROWS, **told)))
    state, fed, counts = None, [], []
    for turn, world_size in enumerate(world_sizes):
        ends = []
        for rank in range(world_size):
            feed = a_feed(
                ROWS, packing=packing, rank=rank, world_size=world_size,
                micro_batch_rows=micro_batch_rows[turn], **told,
            )  # fmt: skip
            if state is not None:
                feed.load_state_dict(state)
            batches = list(islice(feed, num_first) if turn == 0 else feed)
            for batch in batches:
                check_bins(batch)
            fed += batches
            ends.append(feed.state_dict())
            counts.append((turn, len(batches)))
        assert all(one == ends[0] for one in ends)
        state = ends[0]
    # All ranks have equally many batches, no row is lost, and none comes twice.
    assert len(set(counts)) == 2
    assert rows_of(fed) == whole
    assert sorted(whole) == list(range(48))


def test_masks_are_those_of_the_unpacked_feed() -> None:
    flat = by_row(a_feed(ROWS))
    packed = rows_of(list(a_feed(ROWS, packing="window-best-fit-v1", micro_batch_rows=8)))
    assert {row: tuple(one) for row, one in packed.items()} == flat


def test_window_packing_fills_bins_at_least_as_well() -> None:
    num_bins = {
        packing: sum(
            array(batch, "input_ids").shape[0]
            for batch in a_feed(ROWS, packing=packing, micro_batch_rows=8)
        )
        for packing in PACKERS
    }
    assert num_bins["window-best-fit-v1"] <= num_bins["greedy-best-fit-v1"] < len(ROWS)


def test_digests_go_with_their_rows() -> None:
    told: dict[str, Any] = {"digests": True, "micro_batch_rows": 8}
    expected = next(iter(a_feed(ROWS, **told)))
    batch = next(iter(a_feed(ROWS, packing="greedy-best-fit-v1", **told)))
    assert expected.digests is not None
    assert batch.digests is not None
    assert np.array_equal(batch.digests, expected.digests[batch.rows])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"packing": "best-fit"}, "packing: got 'best-fit', expected 'greedy-best-fit-v1' or"),
        ({"packing": "greedy-best-fit-v1", "form": "padded"}, "packing: got form 'padded'"),
        ({"packing": "window-best-fit-v1", "pad_to_multiple": 8}, "pad_to_multiple 8 too"),
    ],
)
def test_what_cannot_be_packed_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_feed(an_order(Listed(ROWS)), objective=MLM, micro_batch_rows=2, **settings)


def test_a_bin_has_a_capacity_without_an_objective_too() -> None:
    order = an_order(Listed(ROWS), max_seq_len=None)
    with pytest.raises(ConfigError, match="maximum sequence length unknown"):
        make_feed(order, objective=None, micro_batch_rows=2, packing="window-best-fit-v1")
