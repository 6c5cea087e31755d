"""torch's own DataLoader and torchdata's, which keeps state."""

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from adapters import tiny
from adapters.numbered import NUM_FED, feed_of, joined, rows_in
from pipeline.core.errors import MismatchError
from pipeline.feed.batch import Mlm
from pipeline.train.loader import FeedDataset

EVERY = list(range(NUM_FED))

pytestmark = [
    # torchdata calls what torch no longer wants called.
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),
    # Of more workers than cores.
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
]


def train(batches: Any, model: torch.nn.Module) -> list[int]:
    """Take a step for each micro-batch, and return the rows that the model was given."""
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    seen = []
    for inputs in batches:
        seen += rows_in(inputs)
        model(**inputs).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return seen


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_plain_data_loader_hands_out_every_row_once_in_order(
    order: Path, num_workers: int
) -> None:
    dataset = FeedDataset(feed_of(order))
    loader = DataLoader(dataset, batch_size=None, num_workers=num_workers)
    assert train(loader, tiny.decoder()) == EVERY


def test_padded_micro_batches_train_an_encoder(order: Path) -> None:
    dataset = FeedDataset(feed_of(order, Mlm(mask_prob=0.3, seed=1), form="padded"))
    assert train(DataLoader(dataset, batch_size=None), tiny.encoder()) == EVERY


@pytest.mark.parametrize("num_workers", [0, 1, 2, 3])
def test_a_stateful_data_loader_goes_on_twice_whatever_its_workers_had_ready(
    order: Path, num_workers: int
) -> None:
    def make() -> StatefulDataLoader[Any]:
        return StatefulDataLoader(
            FeedDataset(feed_of(order)), batch_size=None, num_workers=num_workers
        )

    loader, model = make(), tiny.decoder()
    seen = train(islice(loader, 5), model)
    for stop in (7, None):
        state = loader.state_dict()
        loader = make()
        loader.load_state_dict(state)
        seen += train(islice(loader, stop), model)
    assert seen == EVERY


def test_the_ranks_of_stateful_data_loaders_see_every_row_once(order: Path) -> None:
    seen = []
    for rank in range(2):
        feed = feed_of(order, rank=rank, world_size=2, micro_batch_rows=3)
        loader = StatefulDataLoader(FeedDataset(feed), batch_size=None, num_workers=2)
        mine = [row for inputs in islice(loader, 3) for row in rows_in(inputs)]
        again = StatefulDataLoader(FeedDataset(feed), batch_size=None, num_workers=2)
        again.load_state_dict(loader.state_dict())
        seen.append(mine + [row for inputs in again for row in rows_in(inputs)])
    assert joined(seen) == EVERY


def test_the_state_of_one_of_several_workers_is_refused_elsewhere(order: Path) -> None:
    dataset = FeedDataset(feed_of(order))
    state = dataset.state_dict() | {"worker": 1, "num_workers": 2}
    with pytest.raises(MismatchError, match="is of worker 1 of 2, expected worker 0 of 1"):
        dataset.load_state_dict(state)
