"""A step of several ranks and many micro-batches is the step of one rank, gradient by gradient."""

import math
import os
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from adapters.numbered import feed_of, write_order
from support.paths import REPOSITORY

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")

SCRIPT = REPOSITORY / "tests/support/step_of_ranks.py"
# The name of this machine may be one that it cannot be reached by.
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone",
            "--local-addr", "127.0.0.1")  # fmt: skip


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[Any]]:
    """The steps of one rank alone, and of each of two."""
    from support.step_of_ranks import take_steps

    from pipeline.train.ranks import Ranks

    order, out = write_order(tmp_path_factory.mktemp("numbered")), tmp_path_factory.mktemp("out")
    subprocess.run(
        [sys.executable, *TORCHRUN, SCRIPT, order, out],
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}",
        },
        check=True,
    )
    alone = take_steps(order, Ranks(rank=0, world_size=1, device=torch.device("cpu")))
    return alone, [torch.load(out / f"{rank}.pt") for rank in range(2)]


def test_a_rank_has_several_micro_batches_and_one_a_filler(steps: Any) -> None:
    alone, ranks = steps
    assert alone["encoder", 11]["rows"] == [[11], [12], [13], [14], [15]]
    assert [one["encoder", 11]["rows"] for one in ranks] == [[[11], [13], [15]], [[12], [14], []]]
    assert [len(one["encoder", 0]["rows"]) for one in ranks] == [4, 4]


def test_gradients_are_those_of_one_rank(steps: Any) -> None:
    alone, ranks = steps
    for case, expected in alone.items():
        assert all(gradient is not None for gradient in expected["gradients"].values())
        for rank in ranks:
            assert rank[case]["counts"] == expected["counts"]
            assert rank[case]["loss"] == pytest.approx(expected["loss"], rel=1e-6)
            assert rank[case]["gradients"].keys() == expected["gradients"].keys()
            for name, gradient in rank[case]["gradients"].items():
                theirs = expected["gradients"][name]
                # Of the whole tensor: sums that are almost zero are rounding alone.
                assert theirs.norm() > 0, name
                assert (gradient - theirs).norm() <= 1e-5 * theirs.norm(), (case, name)


def test_gradients_are_those_of_the_mean_over_labels(steps: Any) -> None:
    # The bias of the vocabulary has gradients that add up to nothing, as probabilities do; of each
    # label alone it is at most 1 in size, so of their mean too.
    for case in steps[0].values():
        bias = case["gradients"]["decoder.bias"]
        assert abs(float(bias.sum())) < 1e-5
        num_labels = case["counts"][0]
        assert -1 <= float(bias.min()) <= -0.99 / num_labels
        assert bias.clamp(max=0).sum() == pytest.approx(-1, abs=0.01)


def test_ranks_add_up_once_a_step(steps: Any) -> None:
    for rank in steps[1]:
        assert {case["sums"] for case in rank.values()} == {1}


@pytest.mark.parametrize("what", ["loss is NaN", "gradient norm is inf"])
def test_what_is_no_number_changes_no_weight(what: str, tmp_path: Path) -> None:
    from support.models import tiny

    from pipeline.config.load import load_recipe
    from pipeline.feed.batch import Mlm
    from pipeline.train.models import make_model
    from pipeline.train.optimizer import make_optimizer
    from pipeline.train.ranks import join_ranks
    from pipeline.train.step import load_batches, make_forward, train_step

    order = write_order(tmp_path)
    recipe = load_recipe("sample-encoder-pretraining")
    shape = {"num_layers": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 1}
    spec = tiny("encoder", max_positions=1024, **shape)
    model = make_model(spec, seed=5)
    if what.endswith("NaN"):
        torch.nn.init.constant_(model.head.norm.weight, math.nan)
    else:
        model.decoder.bias.register_hook(lambda gradient: gradient * math.inf)
    before = [one.detach().clone() for one in model.parameters()]
    with join_ranks("cpu") as ranks:
        forward = make_forward(model, replace(recipe, model=spec, compile=False), ranks)
        batches = load_batches(feed_of(order, Mlm(mask_prob=0.3, seed=7)), model)
        optimizer = make_optimizer(model, recipe.optimizer)
        with closing(batches), pytest.raises(FloatingPointError, match=what):
            train_step(forward, optimizer, islice(batches, 1), rate=1.0, seed=1, ranks=ranks)
    for weights, were in zip(model.parameters(), before, strict=True):
        assert torch.equal(weights.nan_to_num(7), were.nan_to_num(7))
