"""Loaders: a feed -> tensors, for a training loop or for a framework that brings its own.

Enters: a feed, which knows its rank. Leaves: its micro-batches as tensors. Whatever is prepared
ahead, by a thread or by worker processes, the state of a `FeedLoader` is the position after what it
has handed out. A `FeedDataset` is for loaders that take a data set; its state is that of the
process that it is asked in, so each such loader must keep the states of its workers apart.
"""

import atexit
import threading
import weakref
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, fields, replace
from queue import SimpleQueue
from typing import Any, Self, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from pipeline.core.errors import MismatchError
from pipeline.feed import Batch, Feed, Inputs
from pipeline.order import steps_from

Tensors = dict[str, Any]
"""What a model is given, tensors and ints by name: `model(**tensors)`."""

Prepare = Callable[[Tensors], Tensors]
"""From what a model is given to what a loop gives it, on the processor."""

_T = TypeVar("_T")

# Rows are read in blocks of about 20 micro-batches; so many ahead, reading a block is not waited
# for. Each takes about 24 bytes an id.
_AHEAD = 8


def to_tensors(inputs: Inputs) -> Tensors:
    """Return what a model is given as tensors that share the arrays' memory; ints stay ints.

    `num_tokens` is left out: it is a fact of a batch, and no argument of a model.
    """
    return {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in inputs.items()
        if name != "num_tokens"
    }


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Loaded(Batch):
    """One rank's micro-batch as tensors."""

    inputs: Tensors
    """What a model is given."""

    @classmethod
    def of(cls, batch: Batch, prepare: Prepare | None = None) -> Self:
        """Return a batch of arrays as one of tensors, which share their memory.

        prepare: what makes other inputs of these.
        """
        known = {one.name: getattr(batch, one.name) for one in fields(Batch)}
        inputs = to_tensors(batch.inputs)
        return cls(**{**known, "inputs": inputs if prepare is None else prepare(inputs)})

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """Return it with its tensors on a device."""
        return self._with(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """Return it with its tensors in memory that a GPU copies from by itself."""
        return self._with(Tensor.pin_memory)

    def _with(self, change: Callable[[Tensor], Tensor]) -> Self:
        inputs = {
            name: change(value) if isinstance(value, Tensor) else value
            for name, value in self.inputs.items()
        }
        return replace(self, inputs=inputs)


class FeedDataset(IterableDataset[Any]):
    """Finished micro-batches of a feed, for `DataLoader(dataset, batch_size=None, ...)`.

    Each is what a model is given and nothing else. Of several workers each makes every
    `num_workers`-th, so what a loader joins in turn is the same with any number of them. It goes on
    where the feed stands: iterating again repeats nothing. But a plain `DataLoader` with workers
    copies the data set to them and tells it nothing of what they did: take a `FeedLoader` to go on.
    """

    def __init__(self, feed: Feed) -> None:
        """Take a feed, which moves on with what is handed out in this process."""
        super().__init__()
        self.feed = feed
        # Whether the feed stands at this worker's next micro-batch, not where all workers began.
        self._is_own = False

    def __iter__(self) -> Iterator[Any]:
        """Yield micro-batches of this worker. Raises: what a feed raises."""
        worker, num_workers = _worker()
        first = 0 if self._is_own else worker
        for batch in self.feed.batches(first, num_workers):
            self._is_own = True
            # Before it is handed out: the state that goes with it is taken next.
            self.feed.row = _row_after(self.feed, batch.next_row, num_workers - 1)
            yield self.item(batch)

    def item(self, batch: Batch) -> Any:
        """Return what is handed out of a batch."""
        return to_tensors(batch.inputs)

    def state_dict(self) -> dict[str, Any]:
        """Return the feed's state, for JSON; that of one of several workers says which it is."""
        state = self.feed.state_dict()
        worker, num_workers = _worker()
        if self._is_own and num_workers > 1:
            state |= {"worker": worker, "num_workers": num_workers}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after what was handed out when the state was taken.

        Raises: MismatchError for a state of another order, or of another worker; InputError for
        what is no state.
        """
        state = dict(state)
        of = state.pop("worker", None), state.pop("num_workers", None)
        if of != (None, None) and of != _worker():
            raise MismatchError(
                f"state: is of worker {of[0]} of {of[1]}, expected worker {_worker()[0]} of"
                f" {_worker()[1]}",
                "go on with as many workers, or keep the state of a FeedLoader, which is of none",
            )
        self.feed.load_state_dict(state)
        self._is_own = of != (None, None)


class FeedLoader:
    """A feed's micro-batches as `Loaded`, made ready while the one before is trained on.

    Its state is the position after what was handed out, whatever was prepared ahead: the same from
    any rank, and good for any number of ranks and workers and for any micro-batch. Iterating again
    goes on, and ends the iteration before.
    """

    def __init__(
        self,
        feed: Feed,
        num_workers: int = 0,
        *,
        device: torch.device | str = "cpu",
        prepare: Prepare | None = None,
    ) -> None:
        """Take a feed, which moves on with what is handed out.

        num_workers: processes that prepare micro-batches, or 0 for a thread, which is enough where
        reading is local: the work is done in compiled code. device: where tensors go; to a GPU they
        are copied from pinned memory while it computes. prepare: what makes other inputs of those
        of a batch, where micro-batches are prepared.
        """
        self.feed = feed
        self.num_workers = num_workers
        self.device = torch.device(device)
        self._prepare = prepare
        # A loop that is left ends its iteration only if nothing else holds it.
        self._running: weakref.ref[Generator[Loaded, None, None]] | None = None

    def __iter__(self) -> Iterator[Loaded]:
        """Hand out what is left of the whole steps. Raises: what a feed raises."""
        before = None if self._running is None else self._running()
        if before is not None:
            # Two that read the same rows would be in each other's way.
            before.close()
        running = self._run()
        self._running = weakref.ref(running)
        return running

    def __len__(self) -> int:
        """Return how many micro-batches a rank has in the whole order, from its first row on."""
        run = self.feed.world_size * self.feed.micro_batch_rows
        steps = steps_from(self.feed.schedule, 0, self.feed.order.rows.num_rows)
        return sum(-(-(stop - start) // run) for _, start, stop in steps)

    def state_dict(self) -> dict[str, Any]:
        """Return the position after what was handed out, for JSON."""
        return self.feed.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after what was handed out when the state was taken, at the next iteration.

        Raises: MismatchError for a state of another order, InputError for what is no state.
        """
        self.feed.load_state_dict(state)

    def _run(self) -> Generator[Loaded, None, None]:
        batches = self._by_thread() if self.num_workers == 0 else self._by_workers()
        try:
            for loaded in batches:
                self.feed.row = loaded.next_row
                self.feed.num_tombstones += len(loaded.tombstones)
                yield loaded.to(self.device, non_blocking=True)
        finally:
            batches.close()

    def _by_thread(self) -> Generator[Loaded, None, None]:
        return _ahead(map(self._load, self.feed.batches()), _AHEAD)

    def _load(self, batch: Batch) -> Loaded:
        loaded = Loaded.of(batch, self._prepare)
        return loaded.pin_memory() if self.device.type == "cuda" else loaded

    def _by_workers(self) -> Generator[Loaded, None, None]:
        yield from DataLoader(
            _LoadedDataset(self.feed, self._prepare),
            batch_size=None,
            num_workers=self.num_workers,
            pin_memory=self.device.type == "cuda",
        )


class _LoadedDataset(FeedDataset):
    def __init__(self, feed: Feed, prepare: Prepare | None) -> None:
        super().__init__(feed)
        self._prepare = prepare

    def item(self, batch: Batch) -> Loaded:
        return Loaded.of(batch, self._prepare)


def _ahead(items: Iterator[_T], number: int) -> Generator[_T, None, None]:
    """Yield items, at most `number` of which a thread has made ready."""
    places: SimpleQueue[None] = SimpleQueue()
    made: SimpleQueue[tuple[_T | None, BaseException | None]] = SimpleQueue()
    is_wanted = True

    def make() -> None:
        try:
            for item in items:
                made.put((item, None))
                places.get()
                if not is_wanted:
                    return
            made.put((None, None))
        except BaseException as error:
            made.put((None, error))

    def stop() -> None:
        nonlocal is_wanted
        # Once: what is left when a process has ended no longer finds its modules.
        if is_wanted:
            is_wanted = False
            places.put(None)
            # Waits for the one that is being made: rows are read by one thread at a time.
            thread.join()
            atexit.unregister(stop)

    for _ in range(number - 1):
        places.put(None)
    # Ended by us, before threads that compiled code runs in are cut off in the midst of it.
    thread = threading.Thread(target=make, name="feed", daemon=True)
    thread.start()
    atexit.register(stop)
    try:
        while True:
            item, error = made.get()
            if error is not None:
                raise error
            if item is None:
                return
            places.put(None)
            yield item
    finally:
        stop()


def _worker() -> tuple[int, int]:
    """Return which worker of a loader this process is, and of how many."""
    info = get_worker_info()
    return (0, 1) if info is None else (info.id, info.num_workers)


def _row_after(feed: Feed, row: int, num_batches: int) -> int:
    """Return where a feed at `row` stands after so many micro-batches, or after the last."""
    for _ in range(num_batches):
        if row >= feed.num_rows:
            break
        row = feed.position_after(1, row)
    return row
