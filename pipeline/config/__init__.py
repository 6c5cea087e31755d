"""The mixture: what a person declares, parsed once and strictly.

`values` and `replay` say what there is to declare; `document` reads YAML with its places, `compose`
makes one tree of files that build on each other, `overrides` puts in what `--set` gave; `kinds` and
`keys` check it all and make the JSON Schema of `schema`; `declared` is the door.
"""

from pipeline.config.budget_table import (
    BudgetTable,
    budget_table,
    declared_tokens,
    in_billions,
    in_percent,
)
from pipeline.config.corpus_options import DecontaminateSpec, DedupSpec, MinHashSpec, ValidationSpec
from pipeline.config.fields import to_plain
from pipeline.config.filter_options import (
    C4Quality,
    FineWebQuality,
    GopherQuality,
    GopherRepetition,
    Language,
    Length,
    Pii,
    Regex,
    Url,
)
from pipeline.config.filters import FORMATTERS, Filter
from pipeline.config.learning_rate import RateSpec, Shape, learning_rate
from pipeline.config.load import load_config, load_mixture, load_replay
from pipeline.config.load_recipe import load_recipe
from pipeline.config.mixture import (
    LARGEST_ETTIN_CHUNK,
    ChunkSpec,
    Mixture,
    OrderSpec,
    SampleSpec,
    ShardSpec,
    TokenizerSpec,
)
from pipeline.config.model_shape import ModelKind, ModelSpec
from pipeline.config.origin import RAW, DecodeSpec, Origin
from pipeline.config.phases import CHECKPOINT_PREFIXES, PHASES_OF_ORDERS, checkpoint_prefix
from pipeline.config.recipe import (
    ObjectiveSpec,
    OptimizerSpec,
    Precision,
    Recipe,
    Start,
)
from pipeline.config.replay import PoolSpec, Replay
from pipeline.config.source import Source

__all__ = [
    "CHECKPOINT_PREFIXES",
    "FORMATTERS",
    "LARGEST_ETTIN_CHUNK",
    "PHASES_OF_ORDERS",
    "RAW",
    "BudgetTable",
    "C4Quality",
    "ChunkSpec",
    "DecodeSpec",
    "DecontaminateSpec",
    "DedupSpec",
    "Filter",
    "FineWebQuality",
    "GopherQuality",
    "GopherRepetition",
    "Language",
    "Length",
    "MinHashSpec",
    "Mixture",
    "ModelKind",
    "ModelSpec",
    "ObjectiveSpec",
    "OptimizerSpec",
    "OrderSpec",
    "Origin",
    "Pii",
    "PoolSpec",
    "Precision",
    "RateSpec",
    "Recipe",
    "Regex",
    "Replay",
    "SampleSpec",
    "Shape",
    "ShardSpec",
    "Source",
    "Start",
    "TokenizerSpec",
    "Url",
    "ValidationSpec",
    "budget_table",
    "checkpoint_prefix",
    "declared_tokens",
    "in_billions",
    "in_percent",
    "learning_rate",
    "load_config",
    "load_mixture",
    "load_recipe",
    "load_replay",
    "to_plain",
]
