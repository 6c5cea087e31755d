"""An order whose rows hold their own numbers, so that it can be read off what a model is given."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.feed.feed import Feed, make_feed
from pipeline.feed.order import open_order
from pipeline.feed.values import Clm, Objective

NUM_ROWS = 104
NUM_FED = 96
"""Rows in whole steps."""
STEP = 16
"""Rows of a step over all ranks."""
_FIRST = 1000
_LONGEST = 24
_CLS, _SEP = 50281, 50282
_ROWS_IN_GROUP = 10


def write_order(folder: Path) -> Path:
    """Write the order as a file of parquet and return its folder."""
    draw = np.random.default_rng(1)
    ids = [
        [_CLS, _FIRST + row, *draw.integers(5, 900, int(draw.integers(1, _LONGEST - 2))), _SEP]
        for row in range(NUM_ROWS)
    ]
    steps = np.arange(NUM_ROWS) // STEP + 1
    table = pa.table(
        {"input_ids": pa.array(ids, pa.list_(pa.uint32())), "step": pa.array(steps, pa.int64())}
    )
    pq.write_table(table, folder / "steps.parquet", row_group_size=_ROWS_IN_GROUP)
    return folder


def feed_of(order: Path, objective: Objective | None = None, **settings: Any) -> Feed:
    """Return a feed of the order: by default Clm(), 4 rows a micro-batch, 16 a step."""
    settings = {
        "micro_batch_rows": 4,
        "global_batch_rows": STEP,
        "max_seq_len": _LONGEST,
    } | settings
    return make_feed(open_order(order), objective=objective or Clm(), **settings)


def rows_in(inputs: dict[str, Any]) -> list[int]:
    """Return the numbers of the rows in what a model is given, in order."""
    ids, labels = inputs["input_ids"], inputs["labels"]
    # Where an id is masked, its label has it.
    ids = np.where(labels != -100, labels, ids)
    if "cu_seq_lens_q" in inputs:
        seconds = ids[0][inputs["cu_seq_lens_q"][:-1] + 1]
    else:
        seconds = ids[:, 1]
    return [int(id) - _FIRST for id in seconds if _FIRST <= id < _FIRST + NUM_ROWS]


def joined(ranks: Iterable[list[int]]) -> list[int]:
    """Return the rows that several ranks saw, sorted; repeated where they were."""
    return sorted(row for rows in ranks for row in rows)
