"""The strip of an order: equal to plain counts, kept, and made again where it is damaged."""

import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.traced import write_output

from pipeline.core.errors import MismatchError
from pipeline.dataset.provenance import ColumnReader
from pipeline.show import Shown, order_view
from pipeline.show import strip as strips
from pipeline.show.strip import base_bounds, load_strip, save_strip

ROWS = [(source, document) for source in "abc" for document in "vwxyz" for _ in range(4)] * 2
"""Of each document 8 rows, which have 8 different chunks."""


def plain(shown: Shown, bounds: list[int]) -> list[dict]:
    """Count by reading every row."""
    assert shown.trace is not None
    origins = shown.trace.provenance.rows(0, shown.num_rows)
    seen: set = set()
    columns = []
    for first, stop in pairwise(bounds):
        rows = [one for one in origins if first <= one.step - 1 < stop]
        repeated = 0
        for one in rows:
            key = (one.source, one.document, one.chunk)
            repeated += key in seen
            seen.add(key)
        tokens = Counter[str]()
        for one in rows:
            tokens[one.source] += one.num_tokens
        counts = Counter(one.source for one in rows)
        columns.append(
            {
                "first_step": first + 1,
                "last_step": stop,
                "num_rows": len(rows),
                "rows_read": len(rows),
                "tokens": [tokens[source] for source in shown.sources],
                "rows": [counts[source] for source in shown.sources],
                "repeated_rows": repeated,
                "later_chunks": sum(one.chunk > 0 for one in rows),
                "min_length": min(one.num_tokens for one in rows),
                "mean_length": sum(one.num_tokens for one in rows) / len(rows),
                "max_length": max(one.num_tokens for one in rows),
            }
        )
    return columns


@pytest.mark.parametrize("columns", [1, 2, 5, 7, 30])
def test_columns_are_what_reading_every_row_gives(finished: Path, columns: int) -> None:
    shown = Shown.open(finished)
    answer = order_view(shown, columns=columns)
    num_steps = answer["last"]
    bounds = [i * num_steps // min(columns, num_steps) for i in range(min(columns, num_steps) + 1)]
    assert answer["columns"] == plain(shown, bounds)
    assert not answer["is_sampled"]
    assert answer["exact_done"] == 1
    assert sum(one["repeated_rows"] for one in answer["columns"]) > 0


def test_fewer_base_columns_than_steps_give_the_same_sums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strips, "_MOST_COLUMNS", 16)
    write_output(tmp_path / "out", ROWS)
    shown = Shown.open(tmp_path / "out")
    shown.strip_maker.make()
    made = shown.strip_maker.strip
    assert made is not None
    assert len(made.bounds) == 17
    answer = order_view(shown, columns=4)
    assert answer["columns"] == plain(shown, [0, 30, 60, 90, 120])
    # Narrower than a base column: counted from the rows themselves, which tell no repeats.
    fine = order_view(shown, first=3, last=5)
    without = [{**one, "repeated_rows": None} for one in plain(shown, [2, 3, 4, 5])]
    assert fine["columns"] == without


def test_a_repeat_is_the_same_chunk_of_the_same_document_of_the_same_source(
    tmp_path: Path,
) -> None:
    write_output(tmp_path, [("a", "x"), ("b", "x"), ("a", "x"), ("a", "y")])
    shown = Shown.open(tmp_path)
    assert order_view(shown)["columns"][2]["repeated_rows"] == 0
    # Written as chunks 0 and 1; now the same one twice.
    path = next((tmp_path / "provenance" / "documents").iterdir())
    table = pq.read_table(path)
    chunks = pa.array([0] * len(table), pa.uint32())
    pq.write_table(table.set_column(table.column_names.index("chunk"), "chunk", chunks), path)
    assert shown.columns.repeated_rows(path).tolist() == [2]


def test_a_strip_is_kept_and_a_damaged_one_is_made_again(tmp_path: Path) -> None:
    write_output(tmp_path / "out", ROWS)
    first = order_view(Shown.open(tmp_path / "out"))
    (kept,) = (tmp_path / "cache" / "ettin-data" / "show").iterdir()
    again = Shown.open(tmp_path / "out")
    again.strip_maker.start()
    assert again.strip_maker.strip is not None, "it is taken and not made"
    assert order_view(again) == first
    data = bytearray(kept.read_bytes())
    data[len(data) // 2] ^= 1
    kept.write_bytes(data)
    assert load_strip(kept) is None
    assert order_view(Shown.open(tmp_path / "out")) == first
    assert load_strip(kept) is not None
    kept.write_bytes(b"")
    assert load_strip(kept) is None


def test_a_cache_that_cannot_be_written_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_output(tmp_path / "out", ROWS)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    answer = order_view(Shown.open(tmp_path / "out"))
    assert answer["exact_done"] == 1
    assert answer["exact_problem"] is None


def test_few_strips_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "_MOST_CACHED", 2)
    made = strips.empty_strip(np.array([0, 1]), 1)
    for number in range(5):
        save_strip(tmp_path / f"strip-{number}.npz", made)
    assert len([*tmp_path.iterdir()]) == 3


def test_memory_is_bounded_by_the_number_of_sources() -> None:
    for num_steps, num_sources in ((600_000, 8), (600_000, 10_000), (3, 5), (10, 10**6)):
        bounds = base_bounds(num_steps, num_sources)
        assert bounds[0] == 0
        assert bounds[-1] == num_steps
        assert (np.diff(bounds) > 0).all()
        columns = len(bounds) - 1
        assert columns <= 65536
        assert columns * num_sources <= max(4 << 20, 256 * num_sources)


def test_damaged_provenance_is_said_and_no_answer_is_made_up(tmp_path: Path) -> None:
    write_output(tmp_path, ROWS)
    shown = Shown.open(tmp_path)
    assert shown.sources == ("a", "b", "c")
    path = next((tmp_path / "provenance" / "checkpoint_000001").iterdir())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(MismatchError, match=r"parquet: cannot be read"):
        order_view(shown)
    assert shown.strip_maker.error is not None


def test_damage_that_no_reader_notices_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_output(tmp_path, ROWS)
    (path,) = (tmp_path / "provenance" / "documents").iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    maker = Shown.open(tmp_path).strip_maker

    def fail(path: Path) -> None:
        raise ValueError("operands could not be broadcast together")

    monkeypatch.setattr(ColumnReader, "repeated_rows", lambda self, path: fail(path))
    maker.make()
    assert maker.error is not None
    assert f"{path}: has other bytes than the manifest says" in maker.error.message


def test_counts_of_damaged_provenance_are_not_kept(finished: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(finished, tmp_path / "out"))
    path = next((out / "provenance").glob("*/steps_*.parquet"))
    right = path.read_bytes()
    table = pq.read_table(path)
    place = table.schema.get_field_index("source")
    [name, *_] = Shown.open(finished).sources
    other = pa.array([name] * len(table)).dictionary_encode()
    pq.write_table(table.set_column(place, "source", other), path)
    shown = Shown.open(out)
    maker = shown.strip_maker
    maker.make()
    assert maker.strip is None
    assert maker.error is not None
    assert f"{path}: has other bytes than the manifest says" in maker.error.message
    path.write_bytes(right)
    again = Shown.open(out).strip_maker
    again.start()
    again.wait()
    assert again.strip is not None
    assert (again.strip.rows.sum(axis=0) > 0).sum() > 1
