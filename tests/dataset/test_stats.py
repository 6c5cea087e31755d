"""The files beside a folder's shards, as the published preparation writes them."""

import json
from pathlib import Path

import numpy as np

from pipeline.config import ChunkSpec
from pipeline.dataset.mds import write_stats

KEYS = ["0th", "10th", "20th", "30th", "40th", "50th", "60th"]
KEYS += ["70th", "80th", "90th", "95th", "99th", "100th"]


def written(folder: Path, lengths: list[int], num_discarded: int = 0) -> tuple[str, str]:
    write_stats(folder, ChunkSpec(size=8999), np.array(lengths, np.int64), num_discarded)
    return (folder / "stats.json").read_text(), (folder / "token_decile.json").read_text()


def test_the_files_are_these_texts(tmp_path: Path) -> None:
    stats, deciles = written(tmp_path, [10, 999, 1000, 8999, 10], 7)
    assert stats == (
        '{"total_duplicated_tokens": 0, "total_tokens_written": 11018, "total_tokens_skipped": 7, '
        '"percentiles": {"0th": 10, "10th": 10, "20th": 10, "30th": 207, "40th": 603, '
        '"50th": 999, "60th": 999, "70th": 999, "80th": 2599, "90th": 5799, "95th": 7399, '
        '"99th": 8679, "100th": 8999}}'
    )
    assert deciles == (
        '{"0k": [0, 1, 4], "1k": [2], "2k": [], "3k": [], "4k": [], "5k": [], "6k": [], '
        '"7k": [], "8k": [3]}'
    )


def test_without_chunks_percentiles_are_nan_as_published(tmp_path: Path) -> None:
    stats, deciles = written(tmp_path, [])
    assert '"0th": NaN, ' in stats
    assert list(json.loads(stats)["percentiles"]) == KEYS
    assert list(json.loads(deciles)) == [f"{k}k" for k in range(9)]
    assert all(chunks == [] for chunks in json.loads(deciles).values())


def test_longer_chunks_than_published_go_on_counting(tmp_path: Path) -> None:
    _, deciles = written(tmp_path, [12_345, 9_000])
    assert list(json.loads(deciles)) == [f"{k}k" for k in range(13)]
    assert json.loads(deciles)["12k"] == [0]
    assert json.loads(deciles)["9k"] == [1]


def test_rows_that_are_tokenized_again_have_the_file_of_the_tokenizer(tmp_path: Path) -> None:
    chunk = ChunkSpec(
        algorithm="ettin-retokenize-v1", size=1024, min_size=512, skip_below=128, seed=42
    )
    write_stats(tmp_path, chunk, np.array([10, 1024, 1026, 1025], np.int64), 7)
    assert [path.name for path in tmp_path.iterdir()] == ["num_tokens.json"]
    assert (tmp_path / "num_tokens.json").read_text() == (
        '{\n  "num_tokens": 3085,\n  "num_truncated_tokens": 3082\n}'
    )
