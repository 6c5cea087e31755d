"""Evaluate a model on the validation split, which no phase trains on.

Any number of ranks gives the same loss, but for rounding. Masks have a key of their own, so every
evaluation predicts the same tokens.
"""

from typing import Any

import torch

from pipeline import dataset
from pipeline.config import Recipe
from pipeline.core import seeds
from pipeline.dataset import TRAIN, VALIDATION, as_path
from pipeline.feed import Clm, Feed, Mlm, SpecialIds
from pipeline.order import Schedule
from pipeline.train.models import Model
from pipeline.train.ranks import Ranks
from pipeline.train.step import load_batches


def open_validation(data: str, recipe: Recipe) -> dataset.Order | None:
    """Open the validation split of a local build; None without one.

    Also None for an encoder whose recipe has no evaluation mask probability.
    """
    path = as_path(data)
    is_evaluated = recipe.model.kind == "decoder" or recipe.objective.evaluation_mask_prob
    if path is None or not is_evaluated:
        return None
    folder = path / VALIDATION / TRAIN
    return dataset.open(folder) if folder.is_dir() else None


def evaluate(
    model: Model,
    forward: torch.nn.Module,
    order: dataset.Order,
    recipe: Recipe,
    special: SpecialIds,
    ranks: Ranks,
) -> dict[str, Any]:
    """Evaluate a model on every row of an order; `forward` is from `make_forward`.

    Returns `loss`, the mean cross-entropy over the labels in nats, `num_labels` and `num_rows`.
    """
    mask_prob = recipe.objective.evaluation_mask_prob
    key = seeds.derive_key(recipe.seed, "evaluation")
    num_rows = order.rows.num_rows
    feed = Feed(
        order=order,
        schedule=Schedule(num_rows_per_step=num_rows),
        micro_batch_rows=recipe.micro_batch_rows,
        rank=ranks.rank,
        world_size=ranks.world_size,
        objective=Clm() if mask_prob is None else Mlm(mask_prob=float(mask_prob), seed=key),
        max_seq_len=recipe.max_seq_len,
        special=special,
    )
    totals = torch.zeros(2, dtype=torch.float64, device=ranks.device)
    forward.eval()
    with torch.no_grad():
        for batch in load_batches(feed, model):
            totals[0] += forward(batch.inputs)
            totals[1] += batch.num_labels
    forward.train()
    loss, num_labels = ranks.all_reduce(totals).tolist()
    mean = loss / max(num_labels, 1)
    return {"loss": mean, "num_labels": int(num_labels), "num_rows": num_rows}
