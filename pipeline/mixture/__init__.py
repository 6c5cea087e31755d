"""The mixture: what a person declares, parsed once and strictly.

`values` says what there is to declare; `document` reads YAML with its places, `overrides` what
`--set` gave; `kinds` and `keys` check both and make the JSON Schema of `schema`.
"""

from pipeline.mixture.replay import Replay, load_replay
from pipeline.mixture.values import (
    ChunkSpec,
    Mixture,
    OrderSpec,
    Origin,
    SampleSpec,
    ShardSpec,
    Source,
    TokenizerSpec,
    load,
)

__all__ = [
    "ChunkSpec",
    "Mixture",
    "OrderSpec",
    "Origin",
    "Replay",
    "SampleSpec",
    "ShardSpec",
    "Source",
    "TokenizerSpec",
    "load",
    "load_replay",
]
