"""Composer's own Trainer, in an environment of its own; and how its batches are split, without it.

The first needs what `tests/adapters/setup.sh FOLDER` makes:
`ETTIN_ADAPTERS=FOLDER python -m pytest -m oracle`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import builds, pages
from support.paths import REPOSITORY

from adapters import environments
from adapters.numbered import NUM_FED, STEP, feed_of, rows_in
from pipeline.dataset.mds.pool import Pool
from pipeline.feed.batch import Mlm
from pipeline.train.adapters import composer
from pipeline.train.loader import FeedLoader


@pytest.fixture(scope="module")
def oracle(order: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return environments.run("composer", "composer_run", tmp_path_factory.mktemp("run"), order)


def marked(test: Any) -> Any:
    for mark in environments.needed:
        test = mark(test)
    return test


@marked
def test_it_trains_on_every_row_once_and_goes_on_twice(oracle: Any) -> None:
    legs = [[row for rows in leg["seen"] for row in rows] for leg in oracle["legs"]]
    assert legs == [
        list(range(2 * STEP)),
        list(range(2 * STEP, 4 * STEP)),
        list(range(4 * STEP, NUM_FED)),
    ]


@marked
def test_it_splits_steps_as_it_was_told(oracle: Any) -> None:
    sizes = [[len(rows) for rows in leg["seen"]] for leg in oracle["legs"]]
    assert sizes == [[3, 3, 2] * 2, [8] * 2, [2] * 8]


@marked
def test_it_counts_rows_and_tokens_without_padding(oracle: Any, order: Path) -> None:
    num_tokens = sum(batch.num_tokens for batch in feed_of(order))
    assert [leg["samples"] for leg in oracle["legs"]] == [2 * STEP, 4 * STEP, NUM_FED]
    assert oracle["legs"][-1]["tokens"] == num_tokens


@marked
def test_the_loss_of_a_step_is_the_mean_over_its_labels(oracle: Any) -> None:
    in_parts, whole = oracle["losses"]
    assert in_parts == pytest.approx(whole, rel=1e-5)


@marked
def test_what_would_lose_rows_is_refused(oracle: Any) -> None:
    several, over = oracle["errors"]
    assert "got several micro-batches on a rank, expected 1" in several
    assert "has no rows left, expected another epoch" in over


@marked
def test_it_reads_ordered_shards_by_streaming_and_resumes(tmp_path: Path) -> None:
    for block in pages.blocks(REPOSITORY / "docs" / "guide" / "streaming.md"):
        if block.about == "read_order.py":
            (tmp_path / "read_order.py").write_text(block.text)
    setting = ("--set", "order.format=mds")
    builds.run_well("build", "sample", "--out", tmp_path / "ordered", "--workers", "1", *setting)
    found = environments.run("composer", "composer_shards_run", cwd=tmp_path)
    rows = np.arange(16)
    pool = Pool.open(tmp_path / "ordered" / "order")
    lengths = pool.lengths()[rows]
    parts = np.split(pool.gather(rows, lengths), np.cumsum(lengths)[:-1])
    assert min(lengths) >= 8
    assert [row for step in found["resumed"] for row in step] == [one[:8].tolist() for one in parts]
    assert found["at_once"] == found["resumed"]


@pytest.mark.parametrize("form", ["flat", "padded"])
@pytest.mark.parametrize("size", [1, 3, 8, 100])
def test_the_parts_of_a_batch_are_the_batch(order: Path, form: str, size: int) -> None:
    settings = {"form": form, "micro_batch_rows": STEP, "pad_to_multiple": 64}
    feed = feed_of(order, Mlm(mask_prob=0.3, seed=1), **settings)
    loaded = next(iter(FeedLoader(feed)))
    batch = composer._batch(loaded)
    parts = composer.split_batch(batch, size)
    assert [part["num_rows"] for part in parts] == [
        min(size, STEP - first) for first in range(0, STEP, size)
    ]
    assert [row for part in parts for row in rows_in(part)] == loaded.rows.tolist()
    for fact in ("num_rows", "num_tokens", "num_labels"):
        assert sum(part[fact] for part in parts) == batch[fact]
    axis = 1 if form == "flat" else 0
    for name in set(batch) & {"input_ids", "labels", "position_ids", "attention_mask"}:
        assert torch.equal(torch.cat([part[name] for part in parts], axis), batch[name])


def test_a_part_tells_its_own_documents(order: Path) -> None:
    feed = feed_of(order, micro_batch_rows=STEP, pad_to_multiple=64)
    loaded = next(iter(FeedLoader(feed)))
    bounds = np.asarray(loaded.inputs["cu_seq_lens_q"])
    first, last = composer.split_batch(composer._batch(loaded), 5)
    assert first["cu_seq_lens_q"].tolist() == bounds[:6].tolist()
    # Padding is the last document.
    assert last["cu_seq_lens_k"].tolist() == (bounds[5:] - bounds[5]).tolist()
    assert len(bounds) == STEP + 2
    assert first["max_length_q"] == np.diff(bounds[:6]).max()
    assert last["max_length_k"] == np.diff(bounds[5:]).max()
    assert first["cu_seq_lens_q"].dtype == torch.int32
    assert set(composer.model_inputs(first)) == set(loaded.inputs)


def test_a_batch_without_a_row_is_one_part(order: Path) -> None:
    feed = feed_of(order, rank=1, world_size=4, micro_batch_rows=2)
    feed.seek_row(STEP - 1)
    batch = composer._batch(next(iter(FeedLoader(feed))))
    (part,) = composer.split_batch(batch, 1)
    assert part["num_rows"] == part["num_labels"] == 0
    assert part["input_ids"].shape == (1, 2)
