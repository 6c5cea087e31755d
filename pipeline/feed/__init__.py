"""The feed: rows of an order -> one rank's batches as numpy arrays, from any row."""

from pipeline.feed.batch import (
    Batch,
    Clm,
    Inputs,
    Mlm,
    Objective,
    OnDamage,
)
from pipeline.feed.factory import make_feed, special_ids
from pipeline.feed.feed import Feed, view_of
from pipeline.feed.layouts import flat_inputs, view_rows
from pipeline.feed.masks import IGNORED
from pipeline.feed.position import describe_position, row_of_position
from pipeline.stages.tokenizer import SpecialIds

__all__ = [
    "IGNORED",
    "Batch",
    "Clm",
    "Feed",
    "Inputs",
    "Mlm",
    "Objective",
    "OnDamage",
    "SpecialIds",
    "describe_position",
    "flat_inputs",
    "make_feed",
    "row_of_position",
    "special_ids",
    "view_of",
    "view_rows",
]
