"""Loaders: a feed -> tensors, for a training loop or a framework's own loader.

The state of a `FeedLoader` is the position after what it has yielded, whatever was made ahead. The
state of a `FeedDataset` is that of the process it is asked in: its loader must keep the states of
workers apart.
"""

import sys
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Any, Self, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from pipeline.core.errors import MismatchError
from pipeline.feed import Batch, Feed, Inputs
from pipeline.order import steps_from

Tensors = dict[str, Any]
"""Arguments of a model, tensors and ints: `model(**tensors)`."""

Prepare = Callable[[Tensors], Tensors]
"""From the arguments of a model to those that a loop needs, on the CPU."""

_T = TypeVar("_T")

# Rows are read in blocks of about 20 micro-batches; with 8 ahead, a loop does not wait for a block.
# Each takes about 24 bytes per id.
_NUM_AHEAD = 8


def to_tensors(inputs: Inputs | Tensors) -> Tensors:
    """Return model arguments as tensors that share the arrays' memory; ints stay ints.

    `num_tokens` is left out: it describes a batch, and is no argument of a model.
    """
    return {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in inputs.items()
        if name != "num_tokens"
    }


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TensorBatch(Batch):
    inputs: Tensors

    @classmethod
    def from_batch(cls, batch: Batch, prepare: Prepare | None) -> Self:
        """Convert arrays to tensors that share their memory, then apply `prepare`."""
        values = {one.name: getattr(batch, one.name) for one in fields(Batch)}
        inputs = to_tensors(batch.inputs)
        return cls(**{**values, "inputs": inputs if prepare is None else prepare(inputs)})

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Self:
        inputs = {
            name: change(value) if isinstance(value, Tensor) else value
            for name, value in self.inputs.items()
        }
        return replace(self, inputs=inputs)


class FeedDataset(IterableDataset[Any]):
    """Micro-batches of a feed, for `DataLoader(dataset, batch_size=None, ...)`.

    Each is the arguments of a model and nothing else. Of several workers each makes every
    `num_workers`-th, so a loader that takes them in turn yields the same with any number. Iterating
    again continues at the feed's position. A plain `DataLoader` with workers copies the data set to
    them and never learns their positions: use a `FeedLoader` to resume.
    """

    def __init__(self, feed: Feed) -> None:
        """Take a feed, which moves on with what is yielded in this process."""
        super().__init__()
        self.feed = feed
        # Whether the feed is at this worker's next micro-batch, not where all workers began.
        self._is_own = False

    def __iter__(self) -> Iterator[Any]:
        """Yield micro-batches of this worker. Raises: same as a feed."""
        worker, num_workers = _worker()
        first = 0 if self._is_own else worker
        for batch in self.feed.batches(first, num_workers):
            self._is_own = True
            # Before it is yielded: the state that goes with it is taken next.
            self.feed.row = _row_after(self.feed, batch.next_row, num_workers - 1)
            yield self.item(batch)

    def item(self, batch: Batch) -> Any:
        """Convert a batch to what is yielded."""
        return to_tensors(batch.inputs)

    def state_dict(self) -> dict[str, Any]:
        """Return the feed's state, for JSON; that of one of several workers names the worker."""
        state = self.feed.state_dict()
        worker, num_workers = _worker()
        if self._is_own and num_workers > 1:
            state |= {"worker": worker, "num_workers": num_workers}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume after what had been yielded when the state was taken.

        Raises: MismatchError for the state of another order or worker; InputError for no state.
        """
        state = dict(state)
        of = state.pop("worker", None), state.pop("num_workers", None)
        here = _worker()
        if of not in ((None, None), here):
            raise MismatchError(
                f"state: is of worker {of[0]} of {of[1]}, expected worker {here[0]} of {here[1]}",
                "resume with as many workers, or keep the state of a FeedLoader, which has none",
            )
        self.feed.load_state_dict(state)
        self._is_own = of != (None, None)


class FeedLoader:
    """A feed's micro-batches as `TensorBatch`, made while the one before is trained on.

    Its state is the position after what was yielded, whatever was made ahead: the same on any rank,
    and valid for any number of ranks and workers and any micro-batch size. Iterating again
    continues, and ends the iteration before.
    """

    def __init__(
        self,
        feed: Feed,
        num_workers: int = 0,
        *,
        device: torch.device | str = "cpu",
        prepare: Prepare | None = None,
    ) -> None:
        """Take a feed, which moves on with what is yielded.

        num_workers: processes that make micro-batches; 0 is a thread, which is enough for local
        rows, since compiled code does the work. device: where tensors go; to a GPU they are copied
        from pinned memory while it computes. prepare: applied to the inputs where they are made.
        """
        self.feed = feed
        self.num_workers = num_workers
        self.device = torch.device(device)
        self._prepare = prepare
        # Weak: a loop that is left must end its iteration.
        self._running: weakref.ref[Generator[TensorBatch, None, None]] | None = None

    def __iter__(self) -> Iterator[TensorBatch]:
        """Yield the rest of the whole steps. Raises: same as a feed."""
        before = None if self._running is None else self._running()
        if before is not None:
            # Only one may read rows of a feed.
            before.close()
        running = self._run()
        self._running = weakref.ref(running)
        return running

    def __len__(self) -> int:
        """Return how many micro-batches a rank has in the whole order."""
        run = self.feed.world_size * self.feed.micro_batch_rows
        steps = steps_from(self.feed.schedule, 0, self.feed.order.rows.num_rows)
        return sum(-(-(stop - start) // run) for _, start, stop in steps)

    def state_dict(self) -> dict[str, Any]:
        """Return the position after what was yielded, for JSON."""
        return self.feed.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume at a state with the next iteration. Raises: same as a feed."""
        self.feed.load_state_dict(state)

    def _run(self) -> Generator[TensorBatch, None, None]:
        if self.num_workers == 0:
            batches = _prefetch(map(self._make, self.feed.batches()), _NUM_AHEAD)
        else:
            batches = self._from_workers()
        try:
            for batch in batches:
                self.feed.row = batch.next_row
                self.feed.num_tombstones += len(batch.tombstones)
                yield batch.to(self.device, non_blocking=True)
        finally:
            batches.close()

    def _make(self, batch: Batch) -> TensorBatch:
        made = TensorBatch.from_batch(batch, self._prepare)
        return made.pin_memory() if self.device.type == "cuda" else made

    def _from_workers(self) -> Generator[TensorBatch, None, None]:
        yield from DataLoader(
            _TensorBatchDataset(self.feed, self._prepare),
            batch_size=None,
            num_workers=self.num_workers,
            pin_memory=self.device.type == "cuda",
        )


class _TensorBatchDataset(FeedDataset):
    def __init__(self, feed: Feed, prepare: Prepare | None) -> None:
        super().__init__(feed)
        self._prepare = prepare

    def item(self, batch: Batch) -> TensorBatch:
        return TensorBatch.from_batch(batch, self._prepare)


def _prefetch(items: Iterator[_T], number: int) -> Generator[_T, None, None]:
    """Yield items, up to `number` of which a thread makes ahead."""
    end: Any = object()
    # Bound here: when the interpreter exits, the thread has ended, and globals may be gone.
    is_exiting = sys.is_finalizing
    pool = ThreadPoolExecutor(1, "feed")
    made = deque(pool.submit(next, items, end) for _ in range(number))
    try:
        while (item := made.popleft().result()) is not end:
            made.append(pool.submit(next, items, end))
            yield item
    finally:
        if not is_exiting():
            # Waits for the item in the making: only one thread may read rows of a feed.
            pool.shutdown(cancel_futures=True)


def _worker() -> tuple[int, int]:
    """Return the index of this worker process, and the number of workers."""
    info = get_worker_info()
    return (0, 1) if info is None else (info.id, info.num_workers)


def _row_after(feed: Feed, row: int, num_batches: int) -> int:
    """Return the position of a feed at `row` after a number of micro-batches, or at its end."""
    for _ in range(num_batches):
        if row >= feed.num_rows:
            break
        row = feed.position_after(1, row)
    return row
