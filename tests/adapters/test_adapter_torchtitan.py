"""torchtitan's own loader, in an environment of its own; and its batches, without it.

The first needs what `tests/adapters/setup.sh FOLDER` makes:
`ETTIN_ADAPTERS=FOLDER python -m pytest -m oracle`.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from adapters import environments
from adapters.numbered import NUM_FED, feed_of
from pipeline.core.errors import ConfigError
from pipeline.feed.batch import Mlm
from pipeline.train.adapters.torchtitan import TitanDataset
from pipeline.train.loader import to_tensors


@pytest.mark.parametrize(
    "num_workers", [pytest.param(number, marks=environments.needed) for number in (0, 2)]
)
def test_its_loader_goes_on_twice_and_refuses_other_ranks(order: Path, num_workers: int) -> None:
    found = environments.run("torchtitan", "titan_run", order, num_workers)
    assert found["seen"] == list(range(NUM_FED))
    assert found["keys"] == ["dp_rank_0", "world_size"]
    assert "dp_degree is inconsistent" in found["refusal"]


def test_labels_are_what_follows_in_the_same_document(order: Path) -> None:
    batches = zip(TitanDataset(feed_of(order)), feed_of(order), strict=True)
    for (inputs, labels), batch in batches:
        ids = inputs["input"]
        assert inputs["positions"].shape == labels.shape == ids.shape
        assert ids.dtype == labels.dtype == inputs["positions"].dtype == torch.int64
        ends = torch.as_tensor(batch.inputs["cu_seq_lens_q"])[1:] - 1
        assert (labels[0, ends] == -100).all()
        inside = torch.ones(ids.shape[1], dtype=torch.bool)
        inside[ends] = False
        assert torch.equal(labels[0, inside], ids[0, 1:][inside[:-1]])


def test_it_predicts_what_a_decoder_with_the_feeds_own_labels_does(order: Path) -> None:
    from adapters import tiny

    model = tiny.decoder()
    inputs, labels = next(iter(TitanDataset(feed_of(order))))
    own = to_tensors(next(feed_of(order).batches()).inputs)
    with torch.no_grad():
        logits = model(input_ids=inputs["input"], position_ids=inputs["positions"]).logits
        shifted = torch.nn.functional.cross_entropy(logits[0], labels[0])
        assert torch.allclose(shifted, model(**own).loss)


@pytest.mark.parametrize(
    "settings", [{"objective": Mlm(mask_prob=0.3, seed=1)}, {"form": "padded"}]
)
def test_another_feed_is_refused(order: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"torchtitan: got .* expected a flat one of Clm\(\)"):
        TitanDataset(feed_of(order, **settings))
