"""Orders in memory and their search indexes."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from support.traced import ListedRows

from pipeline.audit.search import IndexRecord, SearchIndex, build_index
from pipeline.core.arrays import Uint32Array
from pipeline.dataset import Order
from pipeline.dataset.rows import RowReader

FEW_TOKENS = 64
"""Of a section, so that few rows are several."""


def order_of(rows: Sequence[Sequence[int]]) -> Order:
    digest = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
    return Order(where="made", rows=cast(RowReader, ListedRows(rows)), digest=digest)


def write_index(order: Order, folder: Path, section_tokens: int = FEW_TOKENS) -> IndexRecord:
    return build_index(order, folder, section_tokens=section_tokens, report=lambda *_: None)


def index_of(
    rows: Sequence[Sequence[int]], folder: Path, section_tokens: int = FEW_TOKENS
) -> SearchIndex:
    """Write the index of rows and open it."""
    order = order_of(rows)
    write_index(order, folder, section_tokens)
    return SearchIndex.open(folder, order)


def patterns_of(*runs: Sequence[int]) -> list[Uint32Array]:
    return [np.array(run, np.uint32) for run in runs]


def places_of(found: Any) -> list[tuple[int, int]]:
    """Return the first places of a `Found`."""
    return [*zip(found.rows.tolist(), found.offsets.tolist(), strict=True)]
