"""Loaders: tensors of a feed, and a position that counts what was handed out."""

import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapters.numbered import NUM_FED, STEP, feed_of, joined, rows_in, write_order
from hypothesis import given
from hypothesis import strategies as st
from support.paths import REPOSITORY
from support.strategies import QUICK
from torch.utils.data import DataLoader

from pipeline.core.errors import InputError, MismatchError
from pipeline.feed.batch import Mlm
from pipeline.train.loader import FeedDataset, FeedLoader, TensorBatch, to_tensors

EVERY = list(range(NUM_FED))

# Of more workers than cores.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_order(tmp_path_factory.mktemp("numbered"))


def rows_of(batches: Any) -> list[int]:
    """Return the rows of micro-batches, as said and as their ids have them."""
    batches = list(batches)
    assert all(rows_in(batch.inputs) == batch.rows.tolist() for batch in batches)
    return [row for batch in batches for row in batch.rows.tolist()]


def damage(order: Path) -> None:
    """Write zeros over the rows of an order that is open already."""
    path = next(order.glob("*/*.parquet"))
    data = path.read_bytes()
    half = len(data) // 2
    path.write_bytes(data[:4] + bytes(half - 4) + data[half:])


def test_tensors_share_the_arrays_memory_and_ints_stay_ints(order: Path) -> None:
    batch = next(feed_of(order).batches())
    tensors = to_tensors(batch.inputs)
    assert set(tensors) == set(batch.inputs) - {"num_tokens"}
    assert type(tensors["max_length_q"]) is int
    assert tensors["input_ids"].dtype == torch.int64
    assert tensors["cu_seq_lens_q"].dtype == torch.int32
    assert tensors["input_ids"].data_ptr() == np.asarray(batch.inputs["input_ids"]).ctypes.data


@pytest.mark.parametrize("form", ["flat", "padded"])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_hands_out_what_the_feed_does(order: Path, form: str, num_workers: int) -> None:
    settings = {"form": form, "digests": True, "rank": 1, "world_size": 2, "micro_batch_rows": 3}
    objective = Mlm(mask_prob=0.3, seed=7)
    expected = list(feed_of(order, objective, **settings))
    found = list(FeedLoader(feed_of(order, objective, **settings), num_workers))
    assert len(found) == len(expected) == 12
    for loaded, batch in zip(found, expected, strict=True):
        for name, value in to_tensors(batch.inputs).items():
            assert torch.equal(torch.as_tensor(loaded.inputs[name]), torch.as_tensor(value))
        assert loaded.rows.tolist() == batch.rows.tolist()
        assert loaded.digests is not None
        assert batch.digests is not None
        assert loaded.digests.tolist() == batch.digests.tolist()
        for name in ("step", "next_row", "ends_step", "num_tokens", "num_labels"):
            assert getattr(loaded, name) == getattr(batch, name)


legs = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from([1, 2, 4, 8]), st.integers(1, 5)), max_size=4
)


@given(legs)
@QUICK
def test_ranks_that_go_on_see_every_row_once(order: Path, legs: list[Any]) -> None:
    state, seen = FeedLoader(feed_of(order)).state_dict(), []
    for count, world_size, micro in [*legs, (None, 2, 3)]:
        states = []
        for rank in range(world_size):
            feed = feed_of(order, rank=rank, world_size=world_size, micro_batch_rows=micro)
            loader = FeedLoader(feed)
            loader.load_state_dict(json.loads(json.dumps(state)))
            seen.append(rows_of(islice(loader, count)))
            states.append(loader.state_dict())
        assert all(each == states[0] for each in states)
        state = states[0]
    assert joined(seen) == EVERY


@pytest.mark.parametrize("chain", [(0, 2, 1), (2, 0, 3), (1, 3, 2)])
def test_a_loader_goes_on_with_another_number_of_workers(
    order: Path, chain: tuple[int, ...]
) -> None:
    state, seen = FeedLoader(feed_of(order)).state_dict(), []
    for leg, num_workers in enumerate(chain):
        loader = FeedLoader(feed_of(order, micro_batch_rows=leg + 1), num_workers)
        loader.load_state_dict(state)
        seen += rows_of(islice(loader, 5 if leg < 2 else None))
        state = loader.state_dict()
    assert seen == EVERY


@pytest.mark.parametrize("num_workers", [0, 2])
def test_its_position_is_that_after_what_was_handed_out(order: Path, num_workers: int) -> None:
    loader = FeedLoader(feed_of(order), num_workers)
    for number, loaded in enumerate(loader, 1):
        assert loader.state_dict()["row"] == loaded.next_row == 2 * number
    assert loader.feed.row == NUM_FED
    assert list(loader) == []


@pytest.mark.parametrize("num_workers", [0, 2])
def test_iterating_again_goes_on_and_ends_the_iteration_before(
    order: Path, num_workers: int
) -> None:
    loader = FeedLoader(feed_of(order), num_workers)
    first = iter(loader)
    seen = rows_of(islice(first, 3))
    seen += rows_of(islice(loader, 2))
    assert list(first) == []
    assert seen + rows_of(loader) == EVERY


def test_a_data_set_goes_on_where_it_is_iterated_again(order: Path) -> None:
    dataset = FeedDataset(feed_of(order))
    seen = [row for inputs in islice(dataset, 5) for row in rows_in(inputs)]
    assert seen + [row for inputs in dataset for row in rows_in(inputs)] == EVERY


def test_workers_that_stay_go_on_too(order: Path) -> None:
    loader = DataLoader(
        FeedDataset(feed_of(order)), batch_size=None, num_workers=2, persistent_workers=True
    )
    assert [row for inputs in loader for row in rows_in(inputs)] == EVERY
    assert list(loader) == []


def test_its_length_is_that_of_the_whole_order(order: Path) -> None:
    feed = feed_of(order, world_size=2, micro_batch_rows=3)
    feed.seek_step(3)
    # A step of 8 rows is 2 micro-batches of up to 3 rows on 2 ranks.
    assert len(FeedLoader(feed)) == 2 * NUM_FED // STEP
    assert len(list(FeedLoader(feed))) == NUM_FED // STEP


def test_a_thread_is_ahead_and_ends_with_the_iteration(order: Path) -> None:
    def threads() -> list[threading.Thread]:
        return [each for each in threading.enumerate() if each.name.startswith("feed")]

    for _ in FeedLoader(feed_of(order)):
        assert len(threads()) == 1
        break
    assert threads() == []


def test_a_micro_batch_is_made_while_the_one_before_is_used(
    order: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = feed_of(order)
    batches, made = feed.batches, []

    def noted(*args: int) -> Iterator[Any]:
        for batch in batches(*args):
            made.append(batch.next_row)
            yield batch

    monkeypatch.setattr(type(feed), "batches", lambda self, *args: noted(*args))
    handed = iter(FeedLoader(feed))
    next(handed)
    stop = time.monotonic() + 10
    while len(made) < 3 and time.monotonic() < stop:
        time.sleep(0.001)
    assert len(made) >= 3


# torch takes 5 seconds to end a worker that failed.
@pytest.mark.parametrize("num_workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_error_of_the_feed_reaches_the_loop(tmp_path: Path, num_workers: int) -> None:
    loader = FeedLoader(feed_of(write_order(tmp_path)), num_workers)
    damage(tmp_path)
    with pytest.raises(InputError):
        list(loader)


def test_the_state_of_another_order_is_refused(order: Path) -> None:
    loader = FeedLoader(feed_of(order))
    state = loader.state_dict() | {"order": "0" * 64}
    with pytest.raises(MismatchError, match="is of order"):
        loader.load_state_dict(state)
    with pytest.raises(MismatchError, match="is of order"):
        FeedDataset(feed_of(order)).load_state_dict(state)


def test_a_micro_batch_moves_to_a_device_with_its_facts(order: Path) -> None:
    loaded = next(iter(FeedLoader(feed_of(order), device="meta")))
    assert isinstance(loaded, TensorBatch)
    assert loaded.inputs["input_ids"].device.type == "meta"
    assert type(loaded.inputs["max_length_q"]) is int
    assert loaded.rows.tolist() == [0, 1]


def test_tombstones_are_counted_where_they_are_handed_out(tmp_path: Path) -> None:
    loader = FeedLoader(feed_of(write_order(tmp_path), on_damage="tombstone"))
    damage(tmp_path)
    assert [row for loaded in loader for row in loaded.tombstones.tolist()] == EVERY
    assert loader.feed.num_tombstones == NUM_FED


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_tensors_are_copied_to_a_gpu(order: Path) -> None:
    cpu, gpu = FeedLoader(feed_of(order)), FeedLoader(feed_of(order), device="cuda")
    for here, there in zip(cpu, gpu, strict=True):
        assert there.inputs["input_ids"].is_cuda
        assert torch.equal(here.inputs["input_ids"], there.inputs["input_ids"].cpu())


def test_workers_are_gone_when_the_iteration_is(order: Path) -> None:
    for _ in FeedLoader(feed_of(order), 2):
        assert len(multiprocessing.active_children()) == 2
        break
    assert multiprocessing.active_children() == []


# What a module of the library holds is let go of late, when others are cleared already.
HALF_READ = """
import json
import sys
from pathlib import Path

from adapters.numbered import feed_of
from pipeline.train.loader import FeedLoader

json.batches = iter(FeedLoader(feed_of(Path(sys.argv[1]))))
print(next(json.batches).rows.tolist())
"""


def test_a_program_may_end_in_the_midst_of_an_iteration(order: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HALF_READ, order],
        cwd=REPOSITORY / "tests",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[0, 1]\n", "")


@pytest.mark.parametrize("num_workers", [0, 2])
def test_inputs_are_prepared_where_micro_batches_are(order: Path, num_workers: int) -> None:
    def prepare(inputs: dict[str, Any]) -> dict[str, Any]:
        assert inputs["labels"].device.type == "cpu"
        here = threading.current_thread() is threading.main_thread() and os.getpid() == ours
        return {"labels": inputs["labels"] + 1, "is_in_the_loop": here}

    ours = os.getpid()
    plain = list(FeedLoader(feed_of(order)))
    loader = FeedLoader(feed_of(order), num_workers, device="meta", prepare=prepare)
    batches = iter(loader)
    first = next(batches)
    assert first.inputs.keys() == {"labels", "is_in_the_loop"}
    assert first.inputs["is_in_the_loop"] is False
    assert first.inputs["labels"].device.type == "meta"
    assert (first.rows.tolist(), first.num_labels) == ([0, 1], plain[0].num_labels)
    found = FeedLoader(feed_of(order), num_workers, prepare=prepare)
    for one, other in zip(found, plain, strict=True):
        assert torch.equal(one.inputs["labels"], other.inputs["labels"] + 1)
