"""The feed: rows in order -> batches for one rank, from any row, with numpy alone."""

from pipeline.feed.blocks import Damage
from pipeline.feed.feed import Feed
from pipeline.feed.making import make_feed
from pipeline.feed.order import FeedOrder, open_order, open_pool, special_ids
from pipeline.feed.reference import PackedBatch, ReferenceFeed
from pipeline.feed.values import (
    Batch,
    Clm,
    FeedRows,
    Form,
    Inputs,
    Mlm,
    Objective,
    OnDamage,
    SpecialIds,
)

__all__ = [
    "Batch",
    "Clm",
    "Damage",
    "Feed",
    "FeedOrder",
    "FeedRows",
    "Form",
    "Inputs",
    "Mlm",
    "Objective",
    "OnDamage",
    "PackedBatch",
    "ReferenceFeed",
    "SpecialIds",
    "make_feed",
    "open_order",
    "open_pool",
    "special_ids",
]
