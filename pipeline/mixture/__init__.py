"""The mixture: what a person declares, parsed once and strictly.

`values` says what there is to declare; `document` reads YAML with its places, `overrides` what
`--set` gave; `kinds` and `keys` check both and make the JSON Schema of `schema`.
"""

from pipeline.mixture.corpus import DecontaminateSpec, DedupSpec, MinHashSpec, ValidationSpec
from pipeline.mixture.filters import Filter
from pipeline.mixture.origin import DecodeSpec, Origin
from pipeline.mixture.replay import Replay, load_replay
from pipeline.mixture.source import Source
from pipeline.mixture.values import (
    ChunkSpec,
    Mixture,
    OrderSpec,
    SampleSpec,
    ShardSpec,
    TokenizerSpec,
    load,
)

__all__ = [
    "ChunkSpec",
    "DecodeSpec",
    "DecontaminateSpec",
    "DedupSpec",
    "Filter",
    "MinHashSpec",
    "Mixture",
    "OrderSpec",
    "Origin",
    "Replay",
    "SampleSpec",
    "ShardSpec",
    "Source",
    "TokenizerSpec",
    "ValidationSpec",
    "load",
    "load_replay",
]
