"""The feed: rows in order -> batches for one rank, from any row, with numpy alone."""

from pipeline.feed.batch import (
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
from pipeline.feed.blocks import Damage
from pipeline.feed.factory import make_feed
from pipeline.feed.feed import Feed
from pipeline.feed.masks import IGNORED
from pipeline.feed.open_order import FeedOrder, open_order, open_pool, special_ids
from pipeline.feed.packing.bins import Packed, fill_bins
from pipeline.feed.packing.greedy import Backlog, GreedySpec, pack, pack_next
from pipeline.feed.packing.masking import mask, mask_generator
from pipeline.feed.packing.windowed import num_windows, pack_window, window_range
from pipeline.feed.reference import PackedBatch, ReferenceFeed

__all__ = [
    "IGNORED",
    "Backlog",
    "Batch",
    "Clm",
    "Damage",
    "Feed",
    "FeedOrder",
    "FeedRows",
    "Form",
    "GreedySpec",
    "Inputs",
    "Mlm",
    "Objective",
    "OnDamage",
    "Packed",
    "PackedBatch",
    "ReferenceFeed",
    "SpecialIds",
    "fill_bins",
    "make_feed",
    "mask",
    "mask_generator",
    "num_windows",
    "open_order",
    "open_pool",
    "pack",
    "pack_next",
    "pack_window",
    "special_ids",
    "window_range",
]
