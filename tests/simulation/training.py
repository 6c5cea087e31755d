"""Training of a tiny model: its command, and what it leaves, without the times in it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from support import builds
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from . import commands
from .disk import Disk
from .rank_threads import world_of

RECIPE: Final = """\
name: simulated
phase: pretraining
start: fresh
model: {kind: encoder, num_layers: 1, hidden_size: 4, intermediate_size: 4, num_heads: 1,
        max_positions: 64, global_theta: 10000, local_theta: 10000}
objective: {mask_prob: 0.3, evaluation_mask_prob: 0.15}
tokens: 500
global_batch_rows: 2
micro_batch_rows: 1
max_seq_len: 64
optimizer: {peak_rate: 0.01, weight_decay: 0.0003}
learning_rate: {shape: warmup-stable-decay, start: 1, end: 1, warmup_tokens: 200}
seed: 21
save_every_tokens: 200
precision: fp32
"""
"""With two rows in a step, one rank adds up what two do, to the bit."""
_TIMED = ("tokens_per_second", "waiting")


def write_recipe(folder: Path) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(RECIPE)
    return path


def command(recipe: Path, data: Path, out: Path) -> tuple[str | Path, ...]:
    return ("train", recipe, "--data", data, "--out", out, "--device", "cpu")


def run(*arguments: str | Path, size: int = 1, disk: Disk | None = None) -> commands.Done:
    """Train on so many ranks, with one thread, so that sums have one order."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with world_of(size):
            return commands.run(*arguments, disk=disk)
    finally:
        torch.set_num_threads(num_threads)


def left(folder: Path) -> dict[str, str]:
    """Return the digest of every file below a folder, of metrics and curves without times."""
    found = builds.digests(folder)
    for name in [name for name in found if "tfevents" in name]:
        del found[name]
    for path in folder.rglob("metrics.jsonl"):
        found[path.relative_to(folder).as_posix()] = _digest(metrics(path.parent))
        found[(path.parent / "tensorboard").relative_to(folder).as_posix()] = _digest(
            curves(path.parent)
        )
    return found


def metrics(out: Path) -> list[dict[str, Any]]:
    """Return the lines of `metrics.jsonl`."""
    lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    return [{name: one for name, one in line.items() if name not in _TIMED} for line in lines]


def curves(out: Path) -> Mapping[str, list[tuple[int, float]]]:
    """Return what TensorBoard shows."""
    events = EventAccumulator(str(out / "tensorboard")).Reload()
    return {
        tag: [(one.step, one.value) for one in events.Scalars(tag)]
        for tag in sorted(events.Tags()["scalars"])
        if not tag.endswith(_TIMED)
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
