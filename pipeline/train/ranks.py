"""Ranks: the processes that `torchrun` starts to train one model together, one per device.

A single process needs no process group.
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
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that writes."""
        return self.rank == 0

    def all_reduce(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over all ranks, on each of them; `values` is changed."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def all_gather(self, values: list[int]) -> list[int]:
        """Return the values of all ranks, by rank, on each of them."""
        if self.world_size == 1:
            return values
        parts: list[list[int]] = [[] for _ in range(self.world_size)]
        dist.all_gather_object(parts, values)
        return [value for part in parts for value in part]

    def barrier(self) -> None:
        if self.world_size > 1:
            dist.barrier()


@contextmanager
def join_ranks(device: str | None) -> Iterator[Ranks]:
    """Join the processes that `torchrun` started, or be the only one.

    device: "cuda" or "cpu"; None is "cuda". Raises: ConfigError when there is no GPU.
    """
    if device != "cpu" and not torch.cuda.is_available():
        raise ConfigError(
            "--device: got no GPU that torch can use, expected one",
            "add --device cpu to train on the processor, which suits small models",
        )
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    place = torch.device("cpu")
    if device != "cpu":
        place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(place)
    ranks = Ranks(rank=int(os.environ.get("RANK", "0")), world_size=world_size, device=place)
    if world_size == 1:
        yield ranks
        return
    dist.init_process_group("gloo" if place.type == "cpu" else "nccl")
    try:
        yield ranks
    finally:
        dist.destroy_process_group()
