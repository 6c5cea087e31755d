"""accelerate takes a FeedLoader as it is, if it is not prepared but registered for checkpoints."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils import DataLoaderConfiguration
from support import builds
from torchdata.stateful_dataloader import StatefulDataLoader

from adapters.accelerate_rank import train
from adapters.numbered import NUM_FED, STEP, feed_of, joined, rows_in
from pipeline.train.loader import FeedDataset

# torchdata calls what torch no longer wants called.
pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")

NUM_RANKS = 2


@pytest.fixture(autouse=True)
def accelerator() -> Iterator[Accelerator]:
    loaders = DataLoaderConfiguration(dispatch_batches=False, use_stateful_dataloader=True)
    yield Accelerator(cpu=True, dataloader_config=loaders)
    # What it keeps for the whole process would meet the next test's.
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()


def ranks(*arguments: object) -> list[dict[str, list[int]]]:
    """Run `accelerate_rank` on two ranks and return what each printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tests = str(builds.REPOSITORY / "tests")
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "adapters.accelerate_rank", *map(str, arguments)],
            cwd=tests,
            env={
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(NUM_RANKS),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(NUM_RANKS)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * NUM_RANKS
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def test_two_ranks_see_every_row_once_and_one_goes_on_twice(
    order: Path, tmp_path: Path, accelerator: Accelerator
) -> None:
    folder = tmp_path / "state"
    both = ranks(folder, order, 2)
    assert joined(each["trained"] for each in both) == list(range(2 * STEP))
    assert all(len(each["trained"]) == STEP for each in both)
    # Registered, its state is in one file that names no rank.
    seen = train(accelerator, order, folder, 4, micro_batch_rows=4)
    assert seen == list(range(2 * STEP, 4 * STEP))
    accelerator._custom_objects.clear()
    accelerator._models.clear()
    accelerator._optimizers.clear()
    seen = train(accelerator, order, folder, 6)
    assert seen == list(range(4 * STEP, NUM_FED))
    # Why the loader is not prepared: each rank would keep every second of its own micro-batches.
    lost = set(range(NUM_FED)).difference(*(each["prepared"] for each in both))
    assert len(lost) == NUM_FED // 2


def test_on_one_rank_a_stateful_loader_may_be_prepared_though_it_looks_one_ahead(
    order: Path, tmp_path: Path, accelerator: Accelerator
) -> None:
    seen: list[int] = []
    for leg, stop in enumerate((5, 6, None)):
        dataset = FeedDataset(feed_of(order))
        given = StatefulDataLoader(dataset, batch_size=None, num_workers=2)
        loader = accelerator.prepare(given)
        if leg:
            accelerator.load_state(str(tmp_path))
        for inputs in islice(loader, stop):
            seen += rows_in(inputs)
        accelerator.save_state(str(tmp_path))
        accelerator._dataloaders.clear()
    assert seen == list(range(NUM_FED))
