"""What a person declares of a pool's order without a mixture: `--set` over what is published.

The defaults are those of the Ettin suite's pre-training.

Source: JHU-CLSP/ettin-encoder-vs-decoder, `pretraining/configs`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pipeline import digest
from pipeline.mixture.keys import Record, key, plain
from pipeline.mixture.texts import NAME
from pipeline.mixture.values import OrderSpec, ShardSpec, TokenizerSpec, read_declaration

_PUBLISHED: Final = b"""
order: {algorithm: ettin-pcg64dxsm-v1, seed: 21, global_batch_size: 4608, max_seq_len: 1024}
shards: {dtype: uint16}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """Everything beside the pool that decides the bytes of its rows in order."""

    phase: str = field(
        default="checkpoint", metadata=key(NAME, "Stage of training that the pool is for.")
    )
    tokenizer: TokenizerSpec = field(
        default_factory=TokenizerSpec,
        metadata=key(Record(TokenizerSpec), "Whose [CLS] and [SEP] the views put in."),
    )
    order: OrderSpec = field(
        metadata=key(Record(OrderSpec), "The one sequence in which a trainer sees the samples.")
    )
    shards: ShardSpec = field(
        default_factory=ShardSpec, metadata=key(Record(ShardSpec), "The form of MDS files.")
    )
    overrides: tuple[str, ...] = ()
    """What `--set` gave, as normalised key=value, sorted; recorded, not part of the fingerprint."""

    def declaration(self) -> dict[str, Any]:
        """Return what decides the bytes, with defaults filled in, as JSON-able values. Pure."""
        declared: dict[str, Any] = plain(self)
        return declared

    @property
    def fingerprint(self) -> str:
        """The sha256 of the declaration's canonical JSON."""
        return digest.fingerprint(self.declaration())


def load_replay(overrides: Sequence[str] = ()) -> Replay:
    """Return the published order with `key=value` overrides applied.

    Raises: MixtureError, with a line for every problem.
    """
    replay = read_declaration(Record(Replay), _PUBLISHED, "the published order", overrides)
    assert isinstance(replay, Replay)
    return replay
