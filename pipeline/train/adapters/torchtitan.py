"""torchtitan: a feed -> `({"input", "positions"}, labels)`.

torchtitan's models predict the next id, and its loss does not shift labels. They are shifted here:
each label is the next id of the same document, and -100 at its end.
"""

from torch import Tensor

from pipeline.core.errors import ConfigError
from pipeline.feed import IGNORED, Batch, Clm, Feed
from pipeline.train.loader import FeedDataset, to_tensors


class TitanDataset(FeedDataset):
    """A feed's micro-batches for `ParallelAwareDataloader(dataset, rank, world_size,
    batch_size=None)`.

    All documents of a micro-batch are one sequence: int64 [1, num_ids], with positions from 0 in
    each document.
    """

    def __init__(self, feed: Feed) -> None:
        """Take a flat feed for causal language modelling. Raises: ConfigError for another."""
        if feed.form != "flat" or not isinstance(feed.objective, Clm):
            raise ConfigError(
                f"torchtitan: got a {feed.form} feed of {feed.objective}, expected a flat one of"
                " Clm()"
            )
        super().__init__(feed)

    def item(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        tensors = to_tensors(batch.inputs)
        labels = tensors["labels"]
        shifted = labels.new_full(labels.shape, IGNORED)
        # A document's first id is no label, so none crosses the end of the one before.
        shifted[:, :-1] = labels[:, 1:]
        return {"input": tensors["input_ids"], "positions": tensors["position_ids"]}, shifted
