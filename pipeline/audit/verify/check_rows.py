"""Check the rows of an order against its ledger, where no digest of files proves them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline import dataset
from pipeline.core.errors import InputError, MismatchError
from pipeline.core.json_record import Absent
from pipeline.dataset import ROWS_PER_NODE, Manifest


def has_foreign_pool(manifest: Manifest) -> bool:
    """Return whether rows are read from a pool that is no part of the output. Pure."""
    return not isinstance(manifest.order.pool, Absent) and manifest.order.pool.folder is None


def check_rows(out: Path) -> Iterator[str]:
    """Yield a line for rows that cannot be opened, or for each 1,024 that differ."""
    try:
        rows = dataset.open(out).rows
    except (InputError, MismatchError) as error:
        yield error.message
        return
    for first in range(0, rows.num_rows, ROWS_PER_NODE):
        try:
            rows.take(np.arange(first, min(first + ROWS_PER_NODE, rows.num_rows)))
        except (InputError, MismatchError) as error:
            yield error.message
