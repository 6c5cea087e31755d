"""The declarations: mixture, replay and recipe files, parsed once and strictly.

YAML files and `--set` overrides become frozen `Mixture`, `Replay` and `Recipe` values, or one
ConfigError that lists every problem with its place. Start at `load`; `settings` and `value_types`
are what declarations are made of.
"""

from pipeline.config.about import About, AboutSource, SourceKind, load_about
from pipeline.config.budget_table import (
    BudgetTable,
    budget_table,
    declared_tokens,
    in_billions,
    in_percent,
)
from pipeline.config.declaration import OrderSpec, ShardSpec, TokenizerSpec
from pipeline.config.filters import (
    C4Quality,
    Filter,
    FineWebQuality,
    GopherQuality,
    GopherRepetition,
    Language,
    Length,
    Pii,
    Regex,
    Url,
)
from pipeline.config.json_schema import about_schema, mixture_schema, recipe_schema
from pipeline.config.learning_rate import learning_rate
from pipeline.config.load import load_config, load_mixture, load_recipe, load_replay, read_model
from pipeline.config.mixture import (
    CUT_AT_SIZE,
    LARGEST_ETTIN_CHUNK,
    MAX_BAD,
    MAX_DOCUMENT_BYTES,
    PUBLISHED_SIZES,
    ChunkSpec,
    DecontaminateSpec,
    DedupSpec,
    MinHashSpec,
    Mixture,
    ValidationSpec,
)
from pipeline.config.own_filters import Datatrove, Python
from pipeline.config.recipe import (
    CHECKPOINT_PREFIXES,
    PHASES_OF_ORDERS,
    ModelKind,
    ModelSpec,
    OptimizerSpec,
    Recipe,
    checkpoint_prefix,
)
from pipeline.config.replay import PoolSpec, Replay
from pipeline.config.sample import (
    BY_PARTITION,
    IN_SEQUENCE,
    LONGEST_FIRST,
    SampleSpec,
    SourceSample,
)
from pipeline.config.settings import to_plain
from pipeline.config.shares import format_share
from pipeline.config.source import RAW, Origin, Source
from pipeline.config.value_types import LINE, NAME, SOURCE_NAME, closest
from pipeline.config.yaml_nodes import reads_as_text, shallow_events

__all__ = [
    "BY_PARTITION",
    "CHECKPOINT_PREFIXES",
    "CUT_AT_SIZE",
    "IN_SEQUENCE",
    "LARGEST_ETTIN_CHUNK",
    "LINE",
    "LONGEST_FIRST",
    "MAX_BAD",
    "MAX_DOCUMENT_BYTES",
    "NAME",
    "PHASES_OF_ORDERS",
    "PUBLISHED_SIZES",
    "RAW",
    "SOURCE_NAME",
    "About",
    "AboutSource",
    "BudgetTable",
    "C4Quality",
    "ChunkSpec",
    "Datatrove",
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
    "OptimizerSpec",
    "OrderSpec",
    "Origin",
    "Pii",
    "PoolSpec",
    "Python",
    "Recipe",
    "Regex",
    "Replay",
    "SampleSpec",
    "ShardSpec",
    "Source",
    "SourceKind",
    "SourceSample",
    "TokenizerSpec",
    "Url",
    "ValidationSpec",
    "about_schema",
    "budget_table",
    "checkpoint_prefix",
    "closest",
    "declared_tokens",
    "format_share",
    "in_billions",
    "in_percent",
    "learning_rate",
    "load_about",
    "load_config",
    "load_mixture",
    "load_recipe",
    "load_replay",
    "mixture_schema",
    "read_model",
    "reads_as_text",
    "recipe_schema",
    "shallow_events",
    "to_plain",
]
