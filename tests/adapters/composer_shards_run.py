"""A run of Composer's Trainer on ordered shards, read by Streaming as the guide says.

Run in a folder with `ordered/order` and the guide's `read_order.py`, by the interpreter that
`setup.sh` makes. Leaves on stdout as JSON: the first ids of the rows of each step, of a run of four
steps that was resumed after two, and of one that was not.
"""

import json
import sys
import warnings
from typing import Any

import torch

from adapters import stand_ins, tiny

with warnings.catch_warnings(action="ignore"):
    import torchmetrics  # noqa: F401

    stand_ins.put_in_place()
    from composer import Trainer
    from composer.models import ComposerModel

    sys.path.insert(0, ".")
    from read_order import make_loader


class Model(ComposerModel):
    """A decoder that notes how the rows begin that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.model = tiny.decoder()
        self.seen: list[Any] = []

    def forward(self, batch: Any) -> Any:
        self.seen.append(batch["input_ids"][:, :8].tolist())
        return self.model(**batch)

    def loss(self, outputs: Any, batch: Any) -> Any:
        return outputs.loss


def fit(duration: str, start: str | None = None) -> list[Any]:
    """Train to a number of steps and return what was seen."""
    model = Model()
    trainer = Trainer(
        model=model,
        train_dataloader=make_loader("ordered/order"),
        optimizers=torch.optim.SGD(model.parameters(), 0.01),
        max_duration=duration,
        device="cpu",
        save_folder="run",
        save_interval="2ba",
        save_overwrite=True,
        load_path=start,
        progress_bar=False,
    )
    trainer.fit()
    trainer.close()
    return model.seen


def main() -> None:
    """Train twice, once with a stop."""
    torch.set_num_threads(1)
    resumed = fit("2ba") + fit("4ba", "run/ep0-ba2-rank0.pt")
    print(json.dumps({"resumed": resumed, "at_once": fit("4ba")}))


if __name__ == "__main__":
    with warnings.catch_warnings(action="ignore"):
        main()
