"""Training, the only room that imports torch: a recipe and rows -> checkpoints and metrics.

A public name is imported on first use: a `FeedLoader` needs fewer packages than `train`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.train.evaluation import (
        check_folder,
        check_picture,
        draw_curves,
        evaluate_models,
        write_events,
    )
    from pipeline.train.export import export_checkpoint, export_checkpoints, export_model
    from pipeline.train.hub_models import push_exports, repository_to_push
    from pipeline.train.loader import FeedDataset, FeedLoader, TensorBatch, to_tensors
    from pipeline.train.phase import train

_MODULE_BY_NAME = {
    "FeedDataset": "loader",
    "FeedLoader": "loader",
    "TensorBatch": "loader",
    "check_folder": "evaluation",
    "check_picture": "evaluation",
    "draw_curves": "evaluation",
    "evaluate_models": "evaluation",
    "export_checkpoint": "export",
    "export_checkpoints": "export",
    "export_model": "export",
    "push_exports": "hub_models",
    "repository_to_push": "hub_models",
    "to_tensors": "loader",
    "train": "phase",
    "write_events": "evaluation",
}

__all__ = [
    "FeedDataset",
    "FeedLoader",
    "TensorBatch",
    "check_folder",
    "check_picture",
    "draw_curves",
    "evaluate_models",
    "export_checkpoint",
    "export_checkpoints",
    "export_model",
    "push_exports",
    "repository_to_push",
    "to_tensors",
    "train",
    "write_events",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_BY_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_BY_NAME[name]}"), name)
