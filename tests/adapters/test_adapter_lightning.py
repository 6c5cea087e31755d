"""Lightning takes a FeedLoader as it is, and keeps its state in the fit loop's."""

import warnings
from pathlib import Path

import pytest
import torch

from adapters import tiny
from adapters.numbered import NUM_FED, STEP, feed_of, rows_in
from pipeline.train.loader import FeedLoader, TensorBatch

with warnings.catch_warnings(action="ignore"):
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import ModelCheckpoint

# It says so wherever Slurm is installed.
pytestmark = pytest.mark.filterwarnings("ignore:The `srun` command is available")


class Module(LightningModule):
    """A decoder that notes the rows it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.model = tiny.decoder()
        self.seen: list[int] = []

    def training_step(self, batch: TensorBatch, batch_idx: int) -> torch.Tensor:
        assert rows_in(batch.inputs) == batch.rows.tolist()
        self.seen += batch.rows.tolist()
        loss: torch.Tensor = self.model(**batch.inputs).loss
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.01)


class ByHand(Module):
    """One that takes its optimizer steps itself, and notes the rows of each."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.steps: list[list[int]] = []

    def training_step(self, batch: TensorBatch, batch_idx: int) -> None:
        self.manual_backward(super().training_step(batch, batch_idx))
        if batch.ends_step:
            optimizer = self.optimizers()
            optimizer.step()
            optimizer.zero_grad()
            self.steps.append(self.seen)
            self.seen = []


def fit(
    folder: Path,
    loader: FeedLoader,
    max_steps: int,
    start: Path | None = None,
    module: Module | None = None,
) -> list[int]:
    """Train to a step, save each second, and return the rows that were trained on."""
    module = module or Module()
    accumulated = STEP // (loader.feed.micro_batch_rows * loader.feed.world_size)
    saver = ModelCheckpoint(folder, every_n_train_steps=2, save_top_k=-1, filename="{step}")
    trainer = Trainer(
        accelerator="cpu",
        max_steps=max_steps,
        accumulate_grad_batches=accumulated if module.automatic_optimization else 1,
        callbacks=[saver],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with warnings.catch_warnings(action="ignore"):
        trainer.fit(module, loader, ckpt_path=start, weights_only=False if start else None)
    assert trainer.global_step == max_steps
    return module.seen


def at(folder: Path, step: int) -> Path:
    return folder / f"step={step}.ckpt"


def test_it_trains_on_every_row_once_and_goes_on_twice(order: Path, tmp_path: Path) -> None:
    seen = fit(tmp_path, FeedLoader(feed_of(order)), 2)
    assert seen == list(range(2 * STEP))
    seen = fit(tmp_path, FeedLoader(feed_of(order), num_workers=2), 4, at(tmp_path, 2))
    assert seen == list(range(2 * STEP, 4 * STEP))
    seen = fit(tmp_path, FeedLoader(feed_of(order)), 6, at(tmp_path, 4))
    assert seen == list(range(4 * STEP, NUM_FED))


def test_steps_taken_by_hand_are_the_feeds_with_any_micro_batch(
    order: Path, tmp_path: Path
) -> None:
    steps, start = [], None
    # The library counts micro-batches from the beginning, so it would end steps elsewhere.
    for stop, micro in ((2, 8), (4, 3), (6, 2)):
        module = ByHand()
        fit(tmp_path, FeedLoader(feed_of(order, micro_batch_rows=micro)), stop, start, module)
        steps += module.steps
        start = at(tmp_path, stop)
    assert steps == [list(range(first, first + STEP)) for first in range(0, NUM_FED, STEP)]


def test_the_batch_that_a_loader_without_a_length_is_asked_for_ahead_is_not_lost(
    order: Path, tmp_path: Path
) -> None:
    fit(tmp_path, FeedLoader(feed_of(order)), 4)
    states = torch.load(at(tmp_path, 2), weights_only=False)["loops"]["fit_loop"]["state_dict"]
    (state,) = states["combined_loader"]
    assert state["row"] == 2 * STEP


def test_another_rank_goes_on_from_what_the_first_saved(order: Path, tmp_path: Path) -> None:
    first = FeedLoader(feed_of(order, rank=0, world_size=2))
    seen = fit(tmp_path, first, 4)
    second = FeedLoader(feed_of(order, rank=1, world_size=2))
    rest = fit(tmp_path / "second", second, 6, at(tmp_path, 4))
    assert seen == list(range(0, 4 * STEP, 2))
    assert rest == list(range(4 * STEP + 1, NUM_FED, 2))
