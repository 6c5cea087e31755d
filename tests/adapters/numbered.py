"""An order whose rows hold their own numbers, which can be read off what a model is given."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import dataset
from pipeline.feed.batch import Clm, Objective
from pipeline.feed.factory import make_feed
from pipeline.feed.feed import Feed

NUM_ROWS = 52
NUM_FED = 48
"""Rows in whole steps."""
STEP = 8
"""Rows of a step over all ranks."""
_FIRST = 1000
_LONGEST = 16
_CLS, _SEP = 50281, 50282
_ROWS_IN_GROUP = 10


def write_order(folder: Path) -> Path:
    """Write the order as a build does, less its manifest, and return its folder."""
    draw = np.random.default_rng(1)
    ids = [
        [_CLS, _FIRST + row, *draw.integers(5, 900, int(draw.integers(1, _LONGEST - 2))), _SEP]
        for row in range(NUM_ROWS)
    ]
    steps = np.arange(NUM_ROWS) // STEP + 1
    table = pa.table(
        {"input_ids": pa.array(ids, pa.list_(pa.uint32())), "step": pa.array(steps, pa.int64())}
    )
    path = folder / "numbered_000001" / f"steps_000001_to_{steps[-1]:06d}.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(table, path, row_group_size=_ROWS_IN_GROUP)
    return folder


def feed_of(order: Path, objective: Objective | None = None, **settings: Any) -> Feed:
    """Return a feed of the order: by default Clm(), 2 rows a micro-batch, 8 a step."""
    objective = objective or Clm()
    settings = {"micro_batch_rows": 2, **settings}
    return replace(_feed_of(order), order=dataset.open(order), objective=objective, **settings)


@cache
def _feed_of(order: Path) -> Feed:
    # Once, since it reads the tokenizer.
    return make_feed(
        dataset.open(order),
        objective=None,
        micro_batch_rows=1,
        global_batch_rows=STEP,
        max_seq_len=_LONGEST,
    )


def rows_in(inputs: dict[str, Any]) -> list[int]:
    """Return the numbers of the rows in what a model is given, in order."""
    ids, labels = np.asarray(inputs["input_ids"]), np.asarray(inputs["labels"])
    # Where an id is masked, its label has it.
    ids = np.where(labels != -100, labels, ids)
    starts = inputs.get("cu_seq_lens_q")
    seconds = ids[:, 1] if starts is None else ids[0][np.asarray(starts)[:-1] + 1]
    return [int(id) - _FIRST for id in seconds if _FIRST <= id < _FIRST + NUM_ROWS]


def joined(ranks: Iterable[list[int]]) -> list[int]:
    """Return the rows that several ranks saw, sorted; repeated where they were."""
    return sorted(row for rows in ranks for row in rows)
