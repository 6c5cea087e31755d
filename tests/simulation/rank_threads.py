"""Several ranks in this process: threads that take turns, so that nothing depends on their timing.

A rank runs until it needs what the others have; then it is the turn of the next. What goes between
them is ours, in place of a process group, and so is the averaging of gradients; all else is the
package's.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import Any
from unittest import mock

import torch
from torch import nn

from pipeline.train import phase, ranks, step
from pipeline.train.ranks import Ranks

from .disk import Stopped


class _Meeting:
    """Where ranks exchange values. When one fails, the others are stopped, as `torchrun` does."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._changed = threading.Condition()
        self._turn, self._is_over = 0, False
        self._given: list[Any] = [None] * size
        self._taken: list[Any] = []
        self.error: BaseException | None = None

    def run(self, rank: int, function: Callable[[], Any]) -> Any:
        """Run what a rank does, from its first turn to its last."""
        try:
            self._wait(rank)
            result = function()
            self._pass_on(rank)
        except BaseException as error:
            with self._changed:
                self.error, self._is_over = self.error or error, True
                self._changed.notify_all()
            raise
        return result

    def exchange(self, rank: int, value: Any) -> list[Any]:
        """Return the values that all ranks give, by rank."""
        self._given[rank] = value
        if rank == self._size - 1:
            self._taken = list(self._given)
        self._pass_on(rank)
        self._wait(rank)
        return self._taken

    def _pass_on(self, rank: int) -> None:
        with self._changed:
            self._turn = (rank + 1) % self._size
            self._changed.notify_all()

    def _wait(self, rank: int) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._turn == rank or self._is_over, timeout=300):
                raise TimeoutError(f"rank {rank}: waits for an exchange that another leaves out")
        if self._is_over:
            raise Stopped


_HERE = threading.local()
"""The meeting and the rank of each thread."""


class _Group:
    """In place of `torch.distributed`."""

    @staticmethod
    def all_reduce(values: torch.Tensor) -> None:
        values.copy_(torch.stack(_exchange(values.clone())).sum(0))

    @staticmethod
    def all_gather_object(parts: list[Any], value: Any) -> None:
        parts[:] = _exchange(value)

    @staticmethod
    def barrier() -> None:
        _exchange(None)


def _exchange(value: Any) -> list[Any]:
    found: list[Any] = _HERE.meeting.exchange(_HERE.rank, value)
    return found


class _Averaged(nn.Module):
    """In place of `DistributedDataParallel`: gradients are averaged after a backward pass."""

    def __init__(self, module: nn.Module, **_: Any) -> None:
        super().__init__()
        self.module = module
        self._is_local = self._is_due = False
        for parameter in module.parameters():
            parameter.register_post_accumulate_grad_hook(self._note)

    def forward(self, *inputs: Any) -> Any:
        return self.module(*inputs)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        self._is_local = True
        yield
        self._is_local = False

    def _note(self, _: torch.Tensor) -> None:
        if not self._is_local and not self._is_due:
            self._is_due = True
            torch.autograd.Variable._execution_engine.queue_callback(self._average)

    def _average(self) -> None:
        self._is_due = False
        gradients = [one.grad for one in self.module.parameters() if one.grad is not None]
        parts = _exchange([one.clone() for one in gradients])
        for ours, *theirs in zip(gradients, *parts, strict=True):
            ours.copy_(torch.stack(theirs).mean(0))


@contextmanager
def world_of(size: int) -> Iterator[None]:
    """Let training run on so many ranks in this process."""
    train = phase.train

    def train_together(*arguments: Any, **options: Any) -> Any:
        meeting = _Meeting(size)
        found: list[Any] = [None] * size

        def run(rank: int) -> None:
            _HERE.meeting, _HERE.rank = meeting, rank
            # The meeting keeps the error for the caller.
            with suppress(BaseException):
                found[rank] = meeting.run(rank, lambda: train(*arguments, **options))

        threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        if meeting.error is not None:
            raise meeting.error
        return found[0]

    def join_ranks(_: str | None) -> Any:
        return nullcontext(Ranks(rank=_HERE.rank, world_size=size, device=torch.device("cpu")))

    with ExitStack() as stack:
        if size > 1:
            for where, name, value in (
                (phase, "train", train_together),
                (phase, "join_ranks", join_ranks),
                (ranks, "dist", _Group),
                (step, "DistributedDataParallel", _Averaged),
            ):
                stack.enter_context(mock.patch.object(where, name, value))
        yield
