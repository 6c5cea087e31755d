"""A run over torchtitan's own loader in three legs, by the interpreter that `setup.sh` makes.

Enters: the order, how many workers. Leaves on stdout as JSON: the rows of each leg, and the shapes
and labels of its first batch.
"""

import json
import sys
import warnings
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from adapters import tiny
from adapters.numbered import feed_of
from pipeline.train.adapters.torchtitan import TitanDataset

with warnings.catch_warnings(action="ignore"):
    from torchtitan.components.dataloader import ParallelAwareDataloader


def make(order: Path, num_workers: int, world_size: int = 1) -> Any:
    """Return the loader of rank 0."""
    feed = feed_of(order, rank=0, world_size=world_size)
    return ParallelAwareDataloader(
        TitanDataset(feed), 0, world_size, batch_size=None, num_workers=num_workers
    )


def train(batches: Any, model: Any) -> list[int]:
    """Take a step for each batch; return the rows that it saw."""
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    seen = []
    for inputs, labels in batches:
        logits = model(input_ids=inputs["input"], position_ids=inputs["positions"]).logits
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()
        starts = (inputs["positions"][0] == 0).nonzero().flatten()
        seen += [int(inputs["input"][0, start + 1]) - 1000 for start in starts]
    return seen


def main() -> None:
    """Train, save and go on twice; then ask for another number of ranks."""
    torch.set_num_threads(1)
    order, num_workers = Path(sys.argv[1]), int(sys.argv[2])
    model, seen, state = tiny.decoder(), [], {}
    for stop in (5, 6, None):
        loader = make(order, num_workers)
        loader.load_state_dict(state)
        seen += train(islice(loader, stop), model)
        state = loader.state_dict()
    try:
        make(order, num_workers, world_size=2).load_state_dict(state)
        refusal = "none"
    except AssertionError as error:
        refusal = str(error)
    print(json.dumps({"seen": seen, "keys": sorted(state), "refusal": refusal}))


if __name__ == "__main__":
    with warnings.catch_warnings(action="ignore"):
        main()
