"""transformers.Trainer, as FeedTrainer."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from adapters import tiny
from adapters.numbered import NUM_FED, STEP, feed_of, rows_in
from pipeline.core.errors import ConfigError, InputError
from pipeline.feed.batch import Clm, Mlm
from pipeline.train import attention
from pipeline.train.adapters.transformers import FeedTrainer
from pipeline.train.loader import FeedLoader

NUM_STEPS = NUM_FED // STEP


def arguments(folder: Path, **settings: Any) -> TrainingArguments:
    settings = {
        "max_steps": NUM_STEPS,
        "gradient_accumulation_steps": 4,
        "ignore_data_skip": True,
        "save_steps": 2,
        "logging_steps": 1,
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "learning_rate": 1e-3,
        **settings,
    }
    return TrainingArguments(str(folder), **settings)


def record(model: torch.nn.Module) -> list[int]:
    """Return a list to which the model adds the rows that it is given."""
    seen: list[int] = []

    def note(module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        seen.extend(rows_in(kwargs))

    model.register_forward_pre_hook(note, with_kwargs=True)
    return seen


def test_it_trains_on_every_row_once_and_goes_on_twice(order: Path, tmp_path: Path) -> None:
    seen: list[list[int]] = []
    for legs, (stop, micro) in enumerate([(2, 2), (4, 4), (NUM_STEPS, 1)]):
        model = tiny.decoder()
        seen.append(record(model))
        trainer = FeedTrainer(
            model,
            arguments(tmp_path, max_steps=stop, gradient_accumulation_steps=STEP // micro),
            loader=FeedLoader(feed_of(order, micro_batch_rows=micro), num_workers=legs % 2),
        )
        trainer.train(resume_from_checkpoint=get_last_checkpoint(str(tmp_path)))
        assert trainer.state.global_step == stop
    assert seen == [
        list(range(2 * STEP)),
        list(range(2 * STEP, 4 * STEP)),
        list(range(4 * STEP, NUM_FED)),
    ]


def test_a_run_that_goes_on_has_the_losses_of_one_that_never_stopped(
    order: Path, tmp_path: Path
) -> None:
    def losses(folder: str, stops: list[int]) -> list[float]:
        for stop in stops:
            loader = FeedLoader(feed_of(order))
            given = arguments(
                tmp_path / folder, max_steps=stop, lr_scheduler_type="constant", save_steps=3
            )
            trainer = FeedTrainer(tiny.decoder(), given, loader=loader)
            trainer.train(resume_from_checkpoint=get_last_checkpoint(str(tmp_path / folder)))
        return [line["loss"] for line in trainer.state.log_history if "loss" in line]

    for folder in ("whole", "parts"):
        (tmp_path / folder).mkdir()
    whole = losses("whole", [NUM_STEPS])
    assert len(whole) == NUM_STEPS
    assert losses("parts", [3, NUM_STEPS]) == whole


@pytest.mark.parametrize(
    ("kind", "form"), [("encoder", "padded"), ("encoder", "flat"), ("decoder", "flat")]
)
def test_the_loss_is_the_mean_over_the_labels_of_a_step(
    order: Path, tmp_path: Path, kind: str, form: str
) -> None:
    def loss(micro: int) -> float:
        model = getattr(tiny, kind)()
        if (kind, form) == ("encoder", "flat"):
            attention.set_backend(model, "sdpa")
        objective = Mlm(mask_prob=0.3, seed=1) if kind == "encoder" else Clm()
        feed = feed_of(order, objective, form=form, micro_batch_rows=micro)
        given = arguments(tmp_path, max_steps=1, gradient_accumulation_steps=STEP // micro)
        trainer = FeedTrainer(model, given, loader=FeedLoader(feed))
        trainer.train()
        return float(trainer.state.log_history[0]["loss"])

    # Micro-batches of one row have labels in number from 2 to 14; and in one of all rows none may
    # see another.
    assert loss(1) == pytest.approx(loss(STEP), rel=1e-5)


def test_num_tokens_is_a_fact_and_no_argument(order: Path, tmp_path: Path) -> None:
    model = tiny.decoder()
    given: list[set[str]] = []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: given.append(set(kwargs)), with_kwargs=True
    )
    FeedTrainer(model, arguments(tmp_path, max_steps=1), loader=FeedLoader(feed_of(order))).train()
    assert given[0] >= {"cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k"}
    assert "num_tokens" not in given[0]


def test_the_position_is_in_the_trainers_own_state_and_names_no_rank(
    order: Path, tmp_path: Path
) -> None:
    loader = FeedLoader(feed_of(order))
    FeedTrainer(tiny.decoder(), arguments(tmp_path, max_steps=2), loader=loader).train()
    state = json.loads((tmp_path / "checkpoint-2" / "trainer_state.json").read_text())
    saved = state["stateful_callbacks"]["FeedCallback"]["attributes"]["position"]
    assert saved == loader.state_dict()
    assert saved["row"] == 2 * STEP


def test_callbacks_may_be_restored_by_the_library_too(order: Path, tmp_path: Path) -> None:
    FeedTrainer(
        tiny.decoder(), arguments(tmp_path, max_steps=2), loader=FeedLoader(feed_of(order))
    ).train()
    model = tiny.decoder()
    seen = record(model)
    given = arguments(tmp_path, max_steps=4, restore_callback_states_from_checkpoint=True)
    trainer = FeedTrainer(model, given, loader=FeedLoader(feed_of(order)))
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert seen == list(range(2 * STEP, 4 * STEP))
    state = json.loads((tmp_path / "checkpoint-4" / "trainer_state.json").read_text())
    assert state["stateful_callbacks"]["FeedCallback"]["attributes"]["position"]["row"] == 4 * STEP


def test_a_checkpoint_without_a_position_is_refused(order: Path, tmp_path: Path) -> None:
    given = arguments(tmp_path, max_steps=2)
    FeedTrainer(tiny.decoder(), given, loader=FeedLoader(feed_of(order))).train()
    path = tmp_path / "checkpoint-2" / "trainer_state.json"
    state = json.loads(path.read_text())
    del state["stateful_callbacks"]["FeedCallback"]
    path.write_text(json.dumps(state))
    again = FeedTrainer(tiny.decoder(), arguments(tmp_path), loader=FeedLoader(feed_of(order)))
    with pytest.raises(InputError, match="got no position"):
        again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))


@pytest.mark.parametrize(
    ("settings", "of_feed", "message"),
    [
        ({"ignore_data_skip": False}, {}, "ignore_data_skip: got False, expected True"),
        ({}, {"rank": 1, "world_size": 2}, "feed: is for rank 1 of 2, expected rank 0 of 1"),
    ],
)
def test_arguments_that_would_lose_rows_are_refused(
    order: Path, tmp_path: Path, settings: dict[str, Any], of_feed: dict[str, Any], message: str
) -> None:
    loader = FeedLoader(feed_of(order, **of_feed))
    with pytest.raises(ConfigError, match=message):
        FeedTrainer(tiny.decoder(), arguments(tmp_path, **settings), loader=loader)


@pytest.mark.parametrize("accumulated", [1, 3, 8])
def test_accumulation_must_be_a_step(order: Path, tmp_path: Path, accumulated: int) -> None:
    given = arguments(tmp_path, gradient_accumulation_steps=accumulated)
    trainer = FeedTrainer(tiny.decoder(), given, loader=FeedLoader(feed_of(order)))
    with pytest.raises(ConfigError, match=f"gradient_accumulation_steps: got {accumulated},"):
        trainer.train()


def test_it_must_be_told_how_many_steps(order: Path, tmp_path: Path) -> None:
    given = arguments(tmp_path, max_steps=-1)
    trainer = FeedTrainer(tiny.decoder(), given, loader=FeedLoader(feed_of(order)))
    with pytest.raises(ValueError, match="max_steps must be set"):
        trainer.train()
