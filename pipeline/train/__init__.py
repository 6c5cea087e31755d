"""Training: a recipe and rows in order enter; checkpoints, metrics and models leave.

The only room that imports torch. A public name is imported when it is first used, since a loop with
a `FeedLoader`, or an adapter, needs fewer packages than `train`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.train.export import export_checkpoint, export_model
    from pipeline.train.loader import FeedDataset, FeedLoader, TensorBatch, to_tensors
    from pipeline.train.phase import train

_MODULE_BY_NAME = {
    "FeedDataset": "loader",
    "FeedLoader": "loader",
    "TensorBatch": "loader",
    "export_checkpoint": "export",
    "export_model": "export",
    "to_tensors": "loader",
    "train": "phase",
}

__all__ = [
    "FeedDataset",
    "FeedLoader",
    "TensorBatch",
    "export_checkpoint",
    "export_model",
    "to_tensors",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name."""
    if name not in _MODULE_BY_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_BY_NAME[name]}"), name)
