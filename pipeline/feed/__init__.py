"""The feed: rows in order -> batches for one rank, from any row, with numpy alone."""

from pipeline.feed.batch import (
    Batch,
    Clm,
    Form,
    Inputs,
    Mlm,
    Objective,
    OnDamage,
    SpecialIds,
)
from pipeline.feed.blocks import UnreadableRows
from pipeline.feed.factory import make_feed, special_ids
from pipeline.feed.feed import Feed
from pipeline.feed.masks import IGNORED
from pipeline.feed.packing import (
    PACKERS,
    Backlog,
    GreedySpec,
    Packed,
    Packing,
    pack,
    pack_next,
    pack_window,
)
from pipeline.feed.position import describe_position, row_of_position

__all__ = [
    "IGNORED",
    "PACKERS",
    "Backlog",
    "Batch",
    "Clm",
    "Feed",
    "Form",
    "GreedySpec",
    "Inputs",
    "Mlm",
    "Objective",
    "OnDamage",
    "Packed",
    "Packing",
    "SpecialIds",
    "UnreadableRows",
    "describe_position",
    "make_feed",
    "pack",
    "pack_next",
    "pack_window",
    "row_of_position",
    "special_ids",
]
