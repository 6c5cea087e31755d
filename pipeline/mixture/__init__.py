"""The mixture: what a person declares, parsed once and strictly.

`values` and `replay` say what there is to declare; `document` reads YAML with its places, `compose`
makes one tree of files that build on each other, `overrides` puts in what `--set` gave; `kinds` and
`keys` check it all and make the JSON Schema of `schema`; `declared` is the door.
"""

from pipeline.mixture.corpus import DecontaminateSpec, DedupSpec, MinHashSpec, ValidationSpec
from pipeline.mixture.declared import load, load_declared, load_replay
from pipeline.mixture.filters import Filter
from pipeline.mixture.origin import DecodeSpec, Origin
from pipeline.mixture.replay import PoolSpec, Replay
from pipeline.mixture.source import Source
from pipeline.mixture.values import (
    ChunkSpec,
    Mixture,
    OrderSpec,
    SampleSpec,
    ShardSpec,
    TokenizerSpec,
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
    "PoolSpec",
    "Replay",
    "SampleSpec",
    "ShardSpec",
    "Source",
    "TokenizerSpec",
    "ValidationSpec",
    "load",
    "load_declared",
    "load_replay",
]
