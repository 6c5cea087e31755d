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

_PERCENTILES = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 100)
# The published file has these keys and fails on longer chunks; ours goes on counting.
_FEWEST_THOUSANDS = 9
# Of the original, whatever the size of a chunk.
_TRUNCATED_LENGTH = 1024


def write_stats(folder: Path, chunk: ChunkSpec, lengths: Int64Array, num_discarded: int) -> None:
    """Write what the published script leaves that made such chunks last.

    The chunker leaves `stats.json` and `token_decile.json`, the tokenizer `num_tokens.json`.

    lengths: int64 [num_chunks]; num_discarded: tokens that went into no chunk.
    """
    if chunk.algorithm in ("ettin-line-v1", "ettin-retokenize-v1"):
        _write_num_tokens(folder, lengths)
    else:
        _write_chunk_stats(folder, lengths, num_discarded)


def _write_num_tokens(folder: Path, lengths: Int64Array) -> None:
    counts = {
        "num_tokens": int(lengths.sum()),
        "num_truncated_tokens": int(np.minimum(lengths, _TRUNCATED_LENGTH).sum()),
    }
    (folder / "num_tokens.json").write_text(json.dumps(counts, indent=2))


def _write_chunk_stats(folder: Path, lengths: Int64Array, num_discarded: int) -> None:
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
    (folder / "stats.json").write_text(json.dumps(stats))
    (folder / "token_decile.json").write_text(json.dumps(chunks))
