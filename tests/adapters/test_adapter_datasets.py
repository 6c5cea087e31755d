"""datasets.IterableDataset."""

from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from datasets.distributed import split_dataset_by_node
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from adapters import tiny
from adapters.numbered import NUM_ROWS, feed_of, joined, write_order
from pipeline.core.errors import MismatchError
from pipeline.dataset import open as open_order
from pipeline.train.adapters.datasets import iterable_dataset

EVERY = list(range(NUM_ROWS))

# torchdata calls what torch no longer wants called.
pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")


def make(order: Path) -> datasets.IterableDataset:
    return iterable_dataset(open_order(order))


def numbers(rows: Any) -> list[int]:
    """Return the numbers of rows, as said and as their ids have them."""
    rows = list(rows)
    assert [int(row["input_ids"][1]) - 1000 for row in rows] == [int(row["row"]) for row in rows]
    return [int(row["row"]) for row in rows]


def position_in(state: Any) -> Any:
    """Return the position of a feed, however deep in a state."""
    while "format" not in state:
        state = state["examples_iterable"]
    return state


def test_it_has_the_rows_of_the_order(order: Path) -> None:
    dataset = make(order)
    assert dataset.features is not None
    assert list(dataset.features) == ["row", "input_ids"]
    stored = open_order(order).rows.take(np.arange(NUM_ROWS))
    parts = np.split(stored.values, stored.offsets[1:-1])
    assert [list(row["input_ids"]) for row in dataset] == [part.tolist() for part in parts]


def test_it_goes_on_twice(order: Path) -> None:
    dataset = make(order)
    seen = numbers(islice(dataset, 11))
    for stop in (21, None):
        state = dataset.state_dict()
        dataset = make(order)
        dataset.load_state_dict(state)
        seen += numbers(islice(dataset, stop))
    assert seen == EVERY


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 8])
def test_ranks_take_the_rows_in_turn_and_their_state_is_one(order: Path, num_ranks: int) -> None:
    seen, states = [], []
    for rank in range(num_ranks):
        dataset = split_dataset_by_node(make(order), rank, num_ranks)
        seen.append(numbers(islice(dataset, 4)))
        assert seen[-1] == EVERY[rank : 4 * num_ranks : num_ranks]
        states.append(dataset.state_dict())
    assert all(state == states[0] for state in states)
    for rank in range(num_ranks):
        dataset = split_dataset_by_node(make(order), rank, num_ranks)
        dataset.load_state_dict(states[0])
        seen[rank] += numbers(dataset)
    assert joined(seen) == EVERY


def test_another_number_of_ranks_goes_on_with_the_position_in_the_state(order: Path) -> None:
    dataset = split_dataset_by_node(make(order), 0, 2)
    list(islice(dataset, 5))
    state = position_in(dataset.state_dict())
    whole = make(order)
    whole.load_state_dict({"examples_iterable": state, "epoch": 0})
    assert numbers(whole) == EVERY[10:]
    feed = feed_of(order)
    feed.load_state_dict(state)
    assert feed.row == 10


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_stateful_data_loader_goes_on_twice_and_trains(order: Path, num_workers: int) -> None:
    def loader() -> StatefulDataLoader[Any]:
        return StatefulDataLoader(
            make(order), batch_size=8, collate_fn=list, num_workers=num_workers
        )

    model, seen = tiny.decoder(), []
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    state: dict[str, Any] = {}
    for stop in (2, 3, None):
        batches = loader()
        batches.load_state_dict(state)
        for batch in islice(batches, stop):
            seen += numbers(batch)
            ids = torch.as_tensor(batch[0]["input_ids"])[None]
            model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
        state = batches.state_dict()
    assert seen == EVERY


def test_workers_do_not_share_rows_out_of_order(order: Path) -> None:
    assert numbers(DataLoader(make(order), batch_size=None, num_workers=2)) == EVERY


def test_it_is_mapped_formatted_and_collated_as_any_other(order: Path) -> None:
    doubled = make(order).map(lambda row: {"twice": 2 * row["row"]}).with_format("torch")
    row = next(iter(doubled))
    assert isinstance(row["input_ids"], torch.Tensor)
    assert row["input_ids"].dtype == torch.int64
    assert [int(row["twice"]) for row in doubled] == [2 * row for row in EVERY]


def test_to_shuffle_its_source_changes_nothing(order: Path) -> None:
    assert numbers(make(order).shuffle(seed=1, buffer_size=1)) == EVERY


def test_state_of_another_order_is_refused(order: Path, tmp_path: Path) -> None:
    other = write_order(tmp_path)
    (tmp_path / "numbered_000001").rename(tmp_path / "other_000001")
    dataset = make(order)
    next(iter(dataset))
    again = make(other)
    again.load_state_dict(dataset.state_dict())
    with pytest.raises(MismatchError, match="the state is of order"):
        next(iter(again))


def test_to_go_on_reads_no_row_again(order: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_order(order)
    dataset = iterable_dataset(opened)
    list(islice(dataset, 20))
    state, taken, take = dataset.state_dict(), [], type(opened.rows).take

    def noted(self: Any, rows: Any) -> Any:
        taken.extend(rows.tolist())
        return take(self, rows)

    monkeypatch.setattr(type(opened.rows), "take", noted)
    again = iterable_dataset(opened)
    again.load_state_dict(state)
    assert numbers(again) == taken == EVERY[20:]
