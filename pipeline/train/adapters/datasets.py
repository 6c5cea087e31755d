"""datasets: an order -> an `IterableDataset` of its rows, as stored, with their numbers.

Its state is the position of a feed, and resuming seeks. Split for several ranks, each reads every
row and keeps every `world_size`-th, like the slices of a feed.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from datasets import DatasetInfo, Features, IterableDataset, List, Value
from datasets.iterable_dataset import _BaseExamplesIterable

from pipeline.dataset import Order
from pipeline.feed import describe_position, row_of_position

_ROWS_AT_ONCE = 1024
_FEATURES = Features({"row": Value("int64"), "input_ids": List(Value("int64"))})


def iterable_dataset(order: Order) -> IterableDataset:
    """Return the rows of an order: `row`, its number, and `input_ids`: int64 [num_ids].

    Shuffling has no effect. Iterating raises MismatchError for the state of another order.
    """
    return IterableDataset(_Rows(order), info=DatasetInfo(features=_FEATURES))


class _Rows(_BaseExamplesIterable):  # type: ignore[misc]
    # More shards would give ranks and workers runs of rows, out of order.
    num_shards = 1
    features = _FEATURES
    _sleep_on_threads_shutdown = False

    def __init__(self, order: Order) -> None:
        super().__init__()
        self._order = order

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        num_rows = self._order.rows.num_rows
        start = 0
        if self._state_dict is not None:
            digest, where = self._order.digest, self._order.where
            start = row_of_position(self._state_dict, num_rows, digest, where)
        for first in range(start, num_rows, _ROWS_AT_ONCE):
            rows = self._order.rows.take(np.arange(first, min(first + _ROWS_AT_ONCE, num_rows)))
            for row, ids in enumerate(
                np.split(rows.values.astype(np.int64), rows.offsets[1:-1]), first
            ):
                if self._state_dict is not None:
                    self._state_dict["row"] = row + 1
                yield row, {"row": row, "input_ids": ids}

    def _unchanged(self, *_: Any, **__: Any) -> "_Rows":
        return self

    shuffle_data_sources = shard_data_sources = reshard_data_sources = _unchanged

    def _init_state_dict(self) -> dict[str, Any]:
        self._state_dict = describe_position(0, self._order.rows.num_rows, self._order.digest)
        return self._state_dict
