"""Composer: a loader -> a `DataSpec`, which knows how to split and count batches.

Composer splits batches itself, so a micro-batch of the feed must be all rows of a rank in a step.
It asks the data set of a `DataLoader` for state, with two arguments: here the loader's state.
"""

from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from pipeline.core.errors import ConfigError, InputError
from pipeline.feed import IGNORED
from pipeline.train.loader import FeedLoader, TensorBatch, Tensors

_FACTS = ("num_rows", "num_tokens", "num_labels")


def data_spec(loader: FeedLoader) -> Any:
    """Return the `train_dataloader` of a Composer `Trainer`.

    A sample is a row. Tokens are counted without padding; with `accumulate_train_batch_on_tokens`
    the loss is the mean over the labels of the step.
    """
    # Imported late: Composer needs an environment of its own.
    from composer import DataSpec

    return DataSpec(
        _Loader(loader),
        split_batch=split_batch,
        get_num_samples_in_batch=lambda batch: batch["num_rows"],
        get_num_tokens_in_batch=lambda batch: {
            "total": batch["num_tokens"],
            "loss_generating": batch["num_labels"],
        },
    )


def model_inputs(batch: Tensors) -> Tensors:
    """Return the model arguments of a batch: `model(**model_inputs(batch))`."""
    return {name: value for name, value in batch.items() if name not in _FACTS}


def split_batch(batch: Tensors, num_rows: int) -> list[Tensors]:
    """Split a batch into parts of at most `num_rows` rows, in the same form. Pure."""
    part = _flat_part if "cu_seq_lens_q" in batch else _padded_part
    stop = batch["num_rows"]
    firsts = range(0, max(stop, 1), num_rows)
    return [part(batch, first, min(first + num_rows, stop)) for first in firsts]


def _flat_part(batch: Tensors, first: int, stop: int) -> Tensors:
    bounds = batch["cu_seq_lens_q"]
    # Padding is a document of its own after the last row, and stays with it.
    last = len(bounds) - 1 if stop == batch["num_rows"] else stop
    start, end = int(bounds[first]), int(bounds[last])
    own = bounds[first : last + 1] - bounds[first]
    longest = int(own.diff().max())
    part: Tensors = {
        name: value[:, start:end]
        for name, value in batch.items()
        if isinstance(value, Tensor) and value.ndim == 2
    }
    part |= {"cu_seq_lens_q": own, "cu_seq_lens_k": own}
    part |= {"max_length_q": longest, "max_length_k": longest}
    return part | _facts(part, stop - first, int(bounds[stop] - bounds[first]))


def _padded_part(batch: Tensors, first: int, stop: int) -> Tensors:
    part = {name: value[first:stop] for name, value in model_inputs(batch).items()}
    return part | _facts(part, stop - first, int(part["attention_mask"].sum()))


def _facts(part: Tensors, num_rows: int, num_tokens: int) -> Tensors:
    num_labels = int((part["labels"] != IGNORED).sum())
    return {"num_rows": num_rows, "num_tokens": num_tokens, "num_labels": num_labels}


class _Loader(DataLoader[Any]):
    """A loader as a `DataLoader` whose data set has the loader's state."""

    def __init__(self, loader: FeedLoader) -> None:
        super().__init__(_State(loader), batch_size=None)
        self._loader = loader

    def __iter__(self) -> Any:
        feed = self._loader.feed
        if feed.row >= feed.num_rows:
            raise InputError(
                f"{feed.order.where}: has no rows left, expected another epoch",
                f'stop there: max_duration="{feed.num_steps}ba"',
            )
        return map(_batch, self._loader)


class _State(IterableDataset[Any]):
    def __init__(self, loader: FeedLoader) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[TensorBatch]:
        return iter(self._loader)

    def state_dict(self, num_samples: int, from_beginning: bool) -> dict[str, Any]:
        return self._loader.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._loader.load_state_dict(state)


def _batch(loaded: TensorBatch) -> Tensors:
    if not loaded.ends_step:
        raise ConfigError(
            f"step {loaded.step:,}: got several micro-batches on a rank, expected 1, which Composer"
            " splits",
            "make the feed with micro_batch_rows = rows of a step / world size, and set"
            " device_train_microbatch_size of the Trainer",
        )
    return {
        **loaded.inputs,
        "num_rows": len(loaded.rows),
        "num_tokens": loaded.num_tokens,
        "num_labels": loaded.num_labels,
    }
