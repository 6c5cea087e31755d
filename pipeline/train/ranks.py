"""Ranks: the processes that train one model together, one a device.

Enters: the environment that `torchrun` sets, and the device that was asked for. Leaves: who this
process is, and sums over all of them. One process alone needs no group.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from pipeline.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """This process among those that train together."""

    rank: int
    """Which it is, from 0."""
    world_size: int
    """How many there are."""
    device: torch.device
    """Where its model is."""

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over all ranks, on each of them; `values` is changed."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def join(self, values: list[int]) -> list[int]:
        """Return the values of all ranks, those of each in turn, on each of them."""
        if self.world_size == 1:
            return values
        parts: list[list[int]] = [[] for _ in range(self.world_size)]
        dist.all_gather_object(parts, values)
        return [value for part in parts for value in part]

    def wait(self) -> None:
        """Wait until all ranks are here."""
        if self.world_size > 1:
            dist.barrier()


@contextmanager
def join_ranks(device: str | None) -> Iterator[Ranks]:
    """Join the processes that `torchrun` started, or be the only one.

    device: "cuda" or "cpu"; None takes a GPU and asks for one where there is none.

    Raises: ConfigError when there is no GPU and none was waived.
    """
    if device != "cpu" and not torch.cuda.is_available():
        raise ConfigError(
            "--device: got no GPU that torch can use, expected one",
            "add --device cpu to train on the processor, which suits small models",
        )
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    if device == "cpu":
        place = torch.device("cpu")
    else:
        place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(place)
    ranks = Ranks(rank=rank, world_size=world_size, device=place)
    if world_size == 1:
        yield ranks
        return
    dist.init_process_group("gloo" if place.type == "cpu" else "nccl")
    try:
        yield ranks
    finally:
        dist.destroy_process_group()
