"""Statistics of a folder of chunks, as files beside its shards.

Source: JHU-CLSP/ettin-encoder-vs-decoder, `pretraining/data_processing` (2025-08-06),
`split_dataset_into_chunks_individual.py` and `tokenize_mds.py`.
"""

import json
import math
from pathlib import Path

import numpy as np

from pipeline.config import ChunkSpec
from pipeline.core.arrays import Int64Array
from pipeline.core.digest import FileDigest
from pipeline.core.hashed_file import write_hashed

_PERCENTILES = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 100)
# The published file has these keys and fails on longer chunks; ours goes on counting.
_FEWEST_THOUSANDS = 9
# Of the original, whatever the size of a chunk.
_TRUNCATED_LENGTH = 1024


def write_stats(
    folder: Path, chunk: ChunkSpec, lengths: Int64Array, num_discarded: int
) -> dict[str, FileDigest]:
    """Write what the published script leaves that made such chunks last; return it by name.

    The chunker leaves `stats.json` and `token_decile.json`, the tokenizer `num_tokens.json`.

    lengths: int64 [num_chunks]; num_discarded: tokens that went into no chunk.
    """
    if chunk.algorithm in ("ettin-line-v1", "ettin-retokenize-v1"):
        written = _num_tokens(lengths)
    else:
        written = _chunk_stats(lengths, num_discarded)
    return {name: write_hashed(folder / name, [text.encode()]) for name, text in written.items()}


def _num_tokens(lengths: Int64Array) -> dict[str, str]:
    counts = {
        "num_tokens": int(lengths.sum()),
        "num_truncated_tokens": int(np.minimum(lengths, _TRUNCATED_LENGTH).sum()),
    }
    return {"num_tokens.json": json.dumps(counts, indent=2)}


def _chunk_stats(lengths: Int64Array, num_discarded: int) -> dict[str, str]:
    percentiles: list[float] = [math.nan] * len(_PERCENTILES)  # as the original writes it
    if len(lengths):
        percentiles = [int(one) for one in np.percentile(lengths, _PERCENTILES)]
    stats = {
        "total_duplicated_tokens": 0,
        "total_tokens_written": int(lengths.sum()),
        "total_tokens_skipped": num_discarded,
        "percentiles": {f"{p}th": v for p, v in zip(_PERCENTILES, percentiles, strict=True)},
    }
    thousands = lengths // 1000
    most = max(_FEWEST_THOUSANDS, int(thousands.max(initial=0)) + 1)
    chunks = {f"{k}k": np.flatnonzero(thousands == k).tolist() for k in range(most)}
    return {"stats.json": json.dumps(stats), "token_decile.json": json.dumps(chunks)}
