"""The two small files that the published preparation writes beside each folder's shards.

Source: JHU-CLSP/ettin-encoder-vs-decoder, `split_dataset_into_chunks_individual.py`.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.arrays import Int64Array

_PERCENTILES = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 100)
# The published file has these keys and fails on longer chunks; ours goes on counting.
_FEWEST_THOUSANDS = 9


def write_stats(folder: Path, lengths: Int64Array, num_discarded: int) -> None:
    """Write `stats.json` and `token_decile.json` from the lengths of a folder's chunks.

    lengths: int64 [num_chunks]; `num_discarded` counts the tokens that went into no chunk.
    """
    (folder / "stats.json").write_text(json.dumps(_stats(lengths, num_discarded)))
    (folder / "token_decile.json").write_text(json.dumps(_deciles(lengths)))


def _stats(lengths: Int64Array, num_discarded: int) -> dict[str, Any]:
    if len(lengths):
        percentiles: list[float] = [int(one) for one in np.percentile(lengths, _PERCENTILES)]
    else:
        percentiles = [math.nan] * len(_PERCENTILES)  # as the original writes it
    return {
        "total_duplicated_tokens": 0,
        "total_tokens_written": int(lengths.sum()),
        "total_tokens_skipped": num_discarded,
        "percentiles": {f"{p}th": v for p, v in zip(_PERCENTILES, percentiles, strict=True)},
    }


def _deciles(lengths: Int64Array) -> dict[str, list[int]]:
    """For each thousand of length, the numbers of the chunks that have it."""
    thousands = lengths // 1000
    most = max(_FEWEST_THOUSANDS, int(thousands.max(initial=0)) + 1)
    return {f"{k}k": np.flatnonzero(thousands == k).tolist() for k in range(most)}
