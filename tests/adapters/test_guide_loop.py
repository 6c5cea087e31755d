"""The script of the guide to the feed: the same rows and losses on any number of ranks."""

import re
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from support import pages
from support.paths import REPOSITORY

from pipeline import dataset
from pipeline.feed import Clm, make_feed
from pipeline.train.loader import FeedLoader

STEP = 16
"""Rows of a step of the sample."""

# Read by the interpreter at its start, so the script itself is as in the guide.
NOTE_ROWS = """\
import os, pipeline.train.loader as loader
iterate = loader.FeedLoader.__iter__
def noted(self):
    for batch in iterate(self):
        with open(f"rows-of-rank-{os.environ['RANK']}.txt", "a") as file:
            print(batch.step, *batch.rows.tolist(), file=file)
        yield batch
if "RANK" in os.environ:
    loader.FeedLoader.__iter__ = noted
"""


@pytest.fixture(scope="module")
def blocks() -> list[pages.Block]:
    return pages.blocks(REPOSITORY / "docs" / "guide" / "feed.md")


@pytest.fixture(scope="module")
def script(blocks: list[pages.Block]) -> str:
    [text] = [block.text for block in blocks if block.mark == "file: pretrain.py"]
    return text


def run_here(script: str, folder: Path, *arguments: object, **replaced: Any) -> str:
    """Run the script on one process, this one, with some of its functions replaced."""
    names: dict[str, Any] = {"__name__": "pretrain"}
    exec(compile(script, "pretrain.py", "exec"), names)
    names.update(replaced)
    with mock.patch("sys.argv", ["pretrain.py", *map(str, arguments)]):
        return pages.run_python("main()", folder, main=names["main"])


def losses(printed: str) -> list[float]:
    return [float(loss) for loss in re.findall(r"^step \d+: loss (\S+) over", printed, re.M)]


def rows_by_step(text: str) -> set[tuple[int, int]]:
    """Return pairs of a step and a row that it saw, each of which must have come once."""
    lines = [[*map(int, line.split())] for line in text.splitlines()]
    pairs = [(step, row) for step, *rows in lines for row in rows]
    assert len(set(pairs)) == len(pairs)
    return set(pairs)


@pytest.mark.parametrize("objective", ["mlm", pytest.param("clm", marks=pytest.mark.slow)])
def test_two_ranks_then_one_see_the_rows_and_losses_of_one(
    objective: str, blocks: list[pages.Block], script: str, sample_output: Path, tmp_path: Path
) -> None:
    (tmp_path / "sample-out").symlink_to(sample_output)
    (tmp_path / "pretrain.py").write_text(script)
    (tmp_path / "sitecustomize.py").write_text(NOTE_ROWS)
    [commands] = [
        block.text for block in blocks if "torchrun" in block.text and block.language == "sh"
    ]
    on_two, goes_on, _ = commands.replace("mlm", objective).splitlines()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        out = pages.run(on_two, tmp_path)
    seen = [rows_by_step(path.read_text()) for path in tmp_path.glob("rows-of-rank-*.txt")]
    assert len(seen) == 2
    assert not seen[0] & seen[1]
    # The first micro-batch after the last step was made, and was not trained on.
    first = {(row // STEP, row) for row in range(2 * STEP)}
    assert {pair for pair in seen[0] | seen[1] if pair[0] < 2} == first
    out += run_here(script, tmp_path, *goes_on.split()[2:])
    alone = ("sample-out", "--objective", objective, "--checkpoint", "alone.pt", "--steps", 4)
    assert losses(out) == pytest.approx(losses(run_here(script, tmp_path, *alone)), abs=2e-4)
    assert len(losses(out)) == 4


def test_one_process_sees_every_row_once_over_two_starts(
    script: str, sample_output: Path, tmp_path: Path
) -> None:
    seen: list[int] = []
    iterate = FeedLoader.__iter__

    def noted(self: FeedLoader) -> Any:
        for batch in iterate(self):
            if batch.step < steps:
                seen.extend(batch.rows.tolist())
            yield batch

    for steps in (1, 2):
        with mock.patch.object(FeedLoader, "__iter__", noted):
            run_here(
                script, tmp_path, sample_output, "--objective", "clm", "--checkpoint", "clm.pt",
                "--steps", steps,
            )  # fmt: skip
    assert seen == list(range(2 * STEP))


def test_a_step_learns_from_the_mean_over_its_labels(
    script: str, sample_output: Path, tmp_path: Path
) -> None:
    names: dict[str, Any] = {"__name__": "pretrain"}
    exec(script, names)
    found: dict[str, torch.Tensor] = {}

    def take_step(model: torch.nn.Module, optimizer: Any, num_labels: torch.Tensor) -> None:
        kept = mock.Mock(zero_grad=lambda: None)
        names["take_step"](model, kept, num_labels)
        found.update({name: one.grad for name, one in model.named_parameters()})
        optimizer.zero_grad(set_to_none=True)

    options = ("--objective", "clm", "--checkpoint", "clm.pt", "--steps", 1)
    run_here(script, tmp_path, sample_output, *options, take_step=take_step)
    # Each row by itself, and the mean over all of their labels.
    model = names["make_model"]("clm")
    model.set_attn_implementation("sdpa")
    num_labels = 0
    feed = make_feed(
        dataset.open(sample_output), objective=Clm(), micro_batch_rows=1, form="padded"
    )
    for batch in islice(feed, STEP):
        inputs = {name: torch.from_numpy(value) for name, value in batch.inputs.items()}
        (model(**inputs).loss * batch.num_labels).backward()
        num_labels += batch.num_labels
    for name, one in model.named_parameters():
        torch.testing.assert_close(found[name], one.grad / num_labels, rtol=1e-3, atol=1e-6)
