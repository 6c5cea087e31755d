"""A run of Composer's Trainer in three legs, by the interpreter that `setup.sh` makes.

Enters: a folder to save in, the order. Leaves on stdout as JSON: for each leg the rows of each
forward, and the samples and tokens that Composer counted.
"""

import json
import sys
import warnings
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from adapters import stand_ins, tiny
from adapters.numbered import STEP, feed_of, rows_in
from pipeline.core.errors import ConfigError, InputError
from pipeline.train.adapters.composer import data_spec, model_inputs
from pipeline.train.loader import FeedLoader

with warnings.catch_warnings(action="ignore"):
    import torchmetrics  # noqa: F401

    stand_ins.put_in_place()
    from composer import Trainer
    from composer.models import ComposerModel


class Model(ComposerModel):
    """A decoder that notes the rows it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.model = tiny.decoder()
        self.seen: list[list[int]] = []

    def forward(self, batch: Any) -> Any:
        self.seen.append(rows_in(batch))
        return self.model(**model_inputs(batch))

    def loss(self, outputs: Any, batch: Any) -> Any:
        return outputs.loss


def fit(
    folder: Path, loader: FeedLoader, duration: str, start: Path | None, micro: int
) -> dict[str, Any]:
    """Train to a number of steps and say what was seen."""
    model = Model()
    trainer = Trainer(
        model=model,
        train_dataloader=data_spec(loader),
        optimizers=torch.optim.SGD(model.parameters(), 0.01),
        max_duration=duration,
        device="cpu",
        device_train_microbatch_size=micro,
        accumulate_train_batch_on_tokens=True,
        save_folder=str(folder),
        save_interval="2ba",
        save_overwrite=True,
        load_path=None if start is None else str(start),
        progress_bar=False,
    )
    trainer.fit()
    timestamp = trainer.state.timestamp
    trainer.close()
    return {
        "seen": model.seen,
        "samples": timestamp.sample.value,
        "tokens": timestamp.token.value,
        "loss": float(trainer.state.total_loss_dict["loss/train/total"]),
    }


def losses(folder: Path, order: Path) -> list[float]:
    """Return the loss of a step, as Composer says that was given it in parts, and as it is."""
    loader = FeedLoader(feed_of(order, micro_batch_rows=STEP))
    (batch,) = islice(FeedLoader(feed_of(order, micro_batch_rows=STEP)), 1)
    with torch.no_grad():
        whole = tiny.decoder()(**batch.inputs).loss
    return [fit(folder, loader, "1ba", None, 3)["loss"], float(whole)]


def refused(folder: Path, order: Path, micro_batch_rows: int, duration: str) -> str:
    """Return the error of a run that goes wrong."""
    loader = FeedLoader(feed_of(order, micro_batch_rows=micro_batch_rows))
    try:
        fit(folder, loader, duration, None, 4)
    except (InputError, ConfigError) as error:
        return error.message
    raise AssertionError("nothing was refused")


def main() -> None:
    """Train twice on from a checkpoint, with other workers and other splits each time."""
    torch.set_num_threads(1)
    folder, order = Path(sys.argv[1]), Path(sys.argv[2])
    legs, start = [], None
    for duration, num_workers, micro in ((2, 0, 3), (4, 2, 8), (6, 0, 2)):
        loader = FeedLoader(feed_of(order, micro_batch_rows=STEP), num_workers)
        legs.append(fit(folder, loader, f"{duration}ba", start, micro))
        start = folder / f"ep0-ba{duration}-rank0.pt"
    errors = [refused(folder, order, 2, "2ba"), refused(folder, order, STEP, "7ba")]
    both = losses(folder, order)
    print(json.dumps({"legs": legs, "errors": errors, "losses": both}))


if __name__ == "__main__":
    with warnings.catch_warnings(action="ignore"):
        main()
