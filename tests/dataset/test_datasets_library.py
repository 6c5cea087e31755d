"""The ordered rows as `datasets` reads them, which is how most people will."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

datasets = pytest.importorskip("datasets")


# What the package itself warns of is its own affair.
@pytest.mark.filterwarnings("ignore")
def test_load_dataset_reads_the_ordered_rows(finished: Path, tmp_path: Path) -> None:
    files = sorted(str(path) for path in finished.glob("order/*/steps_*.parquet"))
    assert files
    rows = datasets.load_dataset(
        "parquet", data_files=files, split="train", cache_dir=str(tmp_path)
    )
    expected = pq.read_table(files)
    assert rows.column_names == ["input_ids", "step"]
    assert rows["input_ids"][:] == expected["input_ids"].to_pylist()
    assert rows["step"][:] == expected["step"].to_pylist()


@pytest.mark.filterwarnings("ignore")
def test_load_dataset_streams_the_ordered_rows(finished: Path) -> None:
    files = sorted(str(path) for path in finished.glob("order/*/steps_*.parquet"))
    rows = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)
    first = pq.read_table(files[0]).slice(0, 3).to_pylist()
    assert list(rows.take(3)) == first
