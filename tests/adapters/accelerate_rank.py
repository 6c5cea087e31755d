"""One rank of a run under accelerate, started with the variables that torchrun sets.

Enters: a folder to save in, the order, a number of steps. Leaves on stdout as JSON: the rows that
the rank trained on, and those that a loader prepared by the library would have given it.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration
from torch import Tensor
from torch.utils.data import DataLoader

from adapters.numbered import feed_of, rows_in
from pipeline.train.loader import FeedDataset, FeedLoader


class NextIds(torch.nn.Module):
    """A model of each id from the one before alone; it takes what a decoder takes."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(50368, 4)
        self.head = torch.nn.Linear(4, 50368)

    def forward(self, input_ids: Tensor, labels: Tensor, **others: Any) -> Tensor:
        logits = self.head(self.embedding(input_ids[0, :-1]))
        return torch.nn.functional.cross_entropy(logits, labels[0, 1:])


def train(
    accelerator: Accelerator, order: Path, folder: Path, stop: int, **settings: Any
) -> list[int]:
    """Go on from the state in the folder, if there is one; train to a step and save."""
    feed = feed_of(
        order, rank=accelerator.process_index, world_size=accelerator.num_processes, **settings
    )
    loader = FeedLoader(feed, device=accelerator.device)
    torch.manual_seed(1)
    model = NextIds()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    # The loader is not prepared: it knows its rank, and where its tensors go.
    model, optimizer = accelerator.prepare(model, optimizer)
    accelerator.register_for_checkpointing(loader)
    if folder.exists():
        accelerator.load_state(str(folder))
    seen = []
    for loaded in loader:
        seen += rows_in(loaded.inputs)
        accelerator.backward(model(**loaded.inputs))
        if loaded.ends_step:
            optimizer.step()
            optimizer.zero_grad()
            if loaded.step + 1 == stop:
                break
    accelerator.save_state(str(folder))
    return seen


def prepared(accelerator: Accelerator, order: Path) -> list[int]:
    """Return the rows of a loader that was prepared, as a rank would train on them."""
    feed = feed_of(order, rank=accelerator.process_index, world_size=accelerator.num_processes)
    loader = DataLoader(FeedDataset(feed), batch_size=1, collate_fn=lambda items: items[0])
    return [row for inputs in accelerator.prepare(loader) for row in rows_in(inputs)]


def main() -> None:
    """Train, then look at what would have become of the rows."""
    folder, order, stop = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    loaders = DataLoaderConfiguration(dispatch_batches=False)
    accelerator = Accelerator(cpu=True, dataloader_config=loaders)
    trained = train(accelerator, order, folder, stop)
    print(json.dumps({"trained": trained, "prepared": prepared(accelerator, order)}))
    accelerator.end_training()


if __name__ == "__main__":
    with warnings.catch_warnings(action="ignore"):
        main()
