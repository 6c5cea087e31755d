"""The reference packer's batches, to compare with: several rows in each bin, masked as it masks.

Enters: an order. Leaves: one rank's packed batches, which are those of `greedy-best-fit-v1` to the
byte. The reference packs on each rank by itself and masks from a generator. So unlike a `Feed`, its
state is more than a row, and of one rank and world size: it does not outlive a change of either.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from oracle.bins import cu_seqlens, fill_bins
from oracle.generator_masks import mask, mask_generator
from oracle.greedy_packer import Backlog, GreedySpec, pack_next
from pipeline.core.arrays import Int64Array
from pipeline.core.errors import ConfigError, InputError, MismatchError
from pipeline.core.ragged import Rows
from pipeline.dataset.rows import RowReader
from pipeline.feed.batch import Int32Array
from pipeline.feed.layouts import view_rows
from pipeline.feed.masks import IGNORED
from pipeline.feed.packing import Packed
from pipeline.order import View
from pipeline.stages.tokenizer import SpecialIds

FORMAT = "reference-feed-v1"

# Source batches that are read at once, beyond what waits.
_BATCHES_AHEAD = 8


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PackedBatch:
    """One packed batch of one rank, as the reference packer hands it out."""

    inputs: Mapping[str, Int64Array | list[Int32Array] | list[int]]
    """`input_ids`, `labels`, `attention_mask`: int64 [num_bins, capacity]; `cu_seqlens`: of each
    bin where its rows start and the last ends, int32, padding as one row more; `max_seqlen`: of
    each bin the ids of the longest of these."""
    rows: Int64Array
    """int64 [num_rows], the numbers of its rows in the order, bin after bin, each from its left."""
    num_tokens: int
    """Ids of its rows, padding left out."""


@dataclass(kw_only=True)
class ReferenceFeed:
    """One rank's packed batches of one epoch of an order.

    Rows go to the ranks in turn, and those at the end that are too few for every rank are left out.
    With a `mask_prob`, rows are under the encoder's view, and `replay` the reference's generator:
    special ids and padding may be masked. Without, they are under the decoder's, and labels are our
    own (unshifted, -100 at first ids and padding): the reference hands out none.
    """

    rows: RowReader
    """The rows of the order."""
    digest: str
    """What a state belongs to: of the order, 64 hex digits."""
    spec: GreedySpec
    """How rows are packed."""
    special: SpecialIds
    """Ids of the tokenizer."""
    mask_prob: float | None
    """How likely a position is to be predicted; None for a decoder."""
    seed: int
    """Of the generator of the masks; the reference adds the epoch to it."""
    epoch: int = 0
    """Which pass over the data the order is of."""
    rank: int = 0
    """Which rank it is for."""
    world_size: int = 1
    """How many ranks there are."""
    num_batches: int = field(default=0, init=False)
    """How many were handed out."""
    _generator: np.random.Generator = field(init=False, repr=False)
    _position: int = field(default=0, init=False, repr=False)
    """How many of the rank's rows were taken from the order; then some of them wait."""
    _waiting: Int64Array = field(init=False, repr=False)
    """int64 [num_waiting], the numbers of rows in the order, first those that are tried first."""

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise ConfigError(
                f"rank: got {self.rank} of world size {self.world_size}, expected one of 0 to "
                "world size - 1"
            )
        self._generator = mask_generator(self.seed, self.epoch)
        self._waiting = np.empty(0, np.int64)

    @property
    def num_rows_left(self) -> int:
        """Rows of this rank that were not handed out; after the last batch, those of no batch."""
        return len(self._waiting) + len(self._numbers) - self._position

    def __iter__(self) -> Iterator[PackedBatch]:
        """Yield batches from where the feed stands, which moves on with each.

        Raises: InputError for a row that cannot be read, or is of another tokenizer.
        """
        rising = np.sort(self._waiting)
        held = _gather(self._take(rising), np.searchsorted(rising, self._waiting))
        numbers, ahead = self._waiting, self._position
        while True:
            backlog = Backlog(position=len(self._waiting), sequences=np.arange(len(self._waiting)))
            made = pack_next(np.diff(held.offsets), self.spec, backlog)
            # Where it took all that was held, it might have taken more.
            if ahead < len(self._numbers) and (made is None or made[1].position == len(held)):
                more = self._numbers[ahead : ahead + _BATCHES_AHEAD * self.spec.batch_size]
                held = _joined(held, self._take(more))
                numbers = np.concatenate([numbers, more])
                ahead += len(more)
                continue
            if made is None:
                return
            packed, after = made
            batch = self._batch(packed, held, numbers[packed.sequences])
            self._position = ahead - (len(held) - after.position)
            self._waiting = numbers[after.sequences]
            self.num_batches += 1
            kept = np.concatenate([after.sequences, np.arange(after.position, len(held))])
            held, numbers = _gather(held, kept), numbers[kept]
            yield batch

    def state_dict(self, *_ignored: object) -> dict[str, Any]:
        """Return where it stands, for JSON: the rows that wait and the generator's state included.

        It belongs to this rank of this world size, and grows with the packer's buffer alone.
        """
        return {
            "format": FORMAT,
            "of": self._belongs_to(),
            "num_batches": self.num_batches,
            "position": self._position,
            "waiting": self._waiting.tolist(),
            "generator": self._generator.bit_generator.state,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Stand where a state says.

        Raises: InputError for what is no state; MismatchError for a state of another order, rank,
        world size, packing or masking.
        """
        if not isinstance(state, Mapping) or state.get("format") != FORMAT:
            got = state.get("format") if isinstance(state, Mapping) else type(state).__name__
            raise InputError(
                f"state: got {got!r}, expected one of the format {FORMAT!r}",
                "give back what state_dict of a reference feed returned",
            )
        mine = self._belongs_to()
        for name, value in mine.items():
            if state["of"].get(name) != value:
                raise MismatchError(
                    f"state: {name}: got {state['of'].get(name)!r}, expected {value!r}",
                    "the reference packs on each rank by itself, so a state belongs to one rank of "
                    "one world size and to one packing; a Feed may go on with another",
                )
        self.num_batches = state["num_batches"]
        self._position = state["position"]
        self._waiting = np.array(state["waiting"], np.int64)
        self._generator.bit_generator.state = state["generator"]

    @property
    def _numbers(self) -> range:
        """The numbers of this rank's rows in the order."""
        num_rows = self.rows.num_rows // self.world_size * self.world_size
        return range(self.rank, num_rows, self.world_size)

    def _belongs_to(self) -> dict[str, Any]:
        return {
            "order": self.digest,
            "rank": self.rank,
            "world_size": self.world_size,
            "seed": self.seed,
            "epoch": self.epoch,
            "mask_prob": self.mask_prob,
            "batch_size": self.spec.batch_size,
            "micro_batch_size": self.spec.micro_batch_size,
            "max_seq_len": self.spec.max_seq_len,
            "buffer_size": self.spec.buffer_size,
        }

    def _take(self, numbers: Int64Array | range) -> Rows:
        """Return rows under their view."""
        if not len(numbers):
            return Rows(values=np.empty(0, np.uint32), offsets=np.zeros(1, np.int64))
        rows = self.rows.take(np.asarray(numbers, np.int64))
        view: View = "decoder" if self.mask_prob is None else "encoder"
        return view_rows(rows, view, self.spec.max_seq_len, self.special)[0]

    def _batch(self, packed: Packed, held: Rows, numbers: Int64Array) -> PackedBatch:
        pad_id = self.special.pad_id
        bins = fill_bins(packed, held.values, held.offsets[packed.sequences], pad_id)
        bounds = cu_seqlens(packed)
        if self.mask_prob is None:
            inputs, labels = bins, _causal_labels(bins, bounds, pad_id)
        else:
            inputs, labels = mask(
                bins, self._generator, mask_prob=self.mask_prob, mask_id=self.special.mask_id,
                pad_id=pad_id,
            )  # fmt: skip
        return PackedBatch(
            inputs={
                "input_ids": inputs,
                "labels": labels,
                "attention_mask": (bins != pad_id).astype(np.int64),
                "cu_seqlens": bounds,
                "max_seqlen": [int(np.diff(one).max()) for one in bounds],
            },
            rows=numbers,
            num_tokens=int(packed.lengths.sum()),
        )


def _causal_labels(bins: Int64Array, bounds: list[Int32Array], pad_id: int) -> Int64Array:
    labels = np.where(bins == pad_id, IGNORED, bins)
    for row, one in zip(labels, bounds, strict=True):
        row[one[:-1]] = IGNORED
    return labels


def _gather(rows: Rows, chosen: Int64Array) -> Rows:
    """Return rows by their indexes among others: int64 [num_chosen]."""
    lengths = np.diff(rows.offsets)[chosen]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    places = np.repeat(rows.offsets[chosen] - offsets[:-1], lengths) + np.arange(offsets[-1])
    return Rows(values=rows.values[places], offsets=offsets)


def _joined(first: Rows, second: Rows) -> Rows:
    return Rows(
        values=np.concatenate([first.values, second.values]),
        offsets=np.concatenate([first.offsets, first.offsets[-1] + second.offsets[1:]]),
    )
