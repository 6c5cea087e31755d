"""transformers: a loader -> the inputs of a `Trainer`'s steps; checkpoints hold its position.

It replaces the trainer's own loaders, which drop model inputs passed by `**kwargs`, give the
batches of one rank to all, and resume by reading everything again.
"""

from collections.abc import Iterator
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from pipeline.core.errors import ConfigError, InputError
from pipeline.train.loader import FeedLoader, Tensors


class FeedTrainer(Trainer):
    """A `Trainer` that trains on a feed.

    An optimizer step is a step of the feed: `gradient_accumulation_steps` micro-batches on each
    rank. `num_items_in_batch`, which divides the loss, then counts the step's labels on all ranks.
    """

    def __init__(self, *args: Any, loader: FeedLoader, **kwargs: Any) -> None:
        """Take the arguments of `Trainer`, with a loader in place of a data set to train on.

        Raises: ConfigError for arguments that would repeat or skip rows.
        """
        super().__init__(*args, **kwargs)
        _check(self.args, loader)
        self._steps = _Steps(loader, self.args.gradient_accumulation_steps)
        self.add_callback(FeedCallback())

    def get_train_dataloader(self) -> Any:
        """Return the loader, unwrapped: it knows its rank and its position."""
        return self._steps


class FeedCallback(TrainerCallback, ExportableState):
    """Keeps the position in `trainer_state.json`; `FeedTrainer` adds it."""

    _loader: FeedLoader | None = None

    def state(self) -> dict[str, Any]:
        position = None if self._loader is None else self._loader.state_dict()
        return {"args": {}, "attributes": {"position": position}}

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Load the position of the checkpoint that training resumes from, if it does.

        Raises: InputError for a checkpoint without a position.
        """
        self._loader = kwargs["train_dataloader"].loader
        assert self._loader is not None
        if state.global_step == 0:
            return
        callbacks: Any = state.stateful_callbacks
        saved = callbacks.get(type(self).__name__, {})
        position = saved.get("attributes", {}).get("position")
        if position is None:
            raise InputError(
                "trainer_state.json: got no position, expected one in each checkpoint of a"
                " FeedTrainer",
                "start from the weights alone, and seek_step on the feed",
            )
        self._loader.load_state_dict(position)


class _Steps:
    """The inputs of a loader's micro-batches; without a length, so `max_steps` is required."""

    def __init__(self, loader: FeedLoader, num_accumulated: int) -> None:
        self.loader = loader
        self._num_accumulated = num_accumulated

    def __iter__(self) -> Iterator[Tensors]:
        for number, loaded in enumerate(self.loader, 1):
            if loaded.ends_step != (number % self._num_accumulated == 0):
                raise ConfigError(
                    f"gradient_accumulation_steps: got {self._num_accumulated}, expected the number"
                    f" of micro-batches of a rank in step {loaded.step:,}",
                    "use rows of a step / (micro_batch_rows * world size), without remainder",
                )
            yield loaded.inputs


def _check(args: TrainingArguments, loader: FeedLoader) -> None:
    feed = loader.feed
    if (feed.rank, feed.world_size) != (args.process_index, args.world_size):
        raise ConfigError(
            f"feed: is for rank {feed.rank} of {feed.world_size}, expected rank"
            f" {args.process_index} of {args.world_size}, as the trainer runs",
            "make the feed with args.process_index and args.world_size",
        )
    if args.n_gpu > 1:
        raise ConfigError(
            f"trainer: got {args.n_gpu} GPUs in one process, expected 1",
            "start it with torchrun, one process per GPU",
        )
    if not args.ignore_data_skip:
        raise ConfigError(
            "ignore_data_skip: got False, expected True: the feed resumes by itself",
            "pass ignore_data_skip=True",
        )
