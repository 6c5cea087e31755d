"""Layouts cover every row once, within the memory of a worker, at any size."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from support.pass_counts import count_passes
from support.strategies import QUICK

from pipeline.core.cells import CellFormat
from pipeline.dataset import State
from pipeline.runner.shuffle.layout import Layout, Limits, lay_out

GIB = 1 << 30


def planned(num_rows: int, num_bytes: int, file_rows: int = 461_000, **limits: int) -> Layout:
    """Return a layout of tasks that are as full as they may be."""
    allowed = Limits(**limits)
    return lay_out(
        allowed,
        key="k",
        num_rows=num_rows,
        num_bytes=num_bytes,
        id_bytes=2,
        num_tasks=-(-allowed.held_bytes(num_bytes, num_rows) // allowed.run_bytes),
        file_rows=file_rows,
    )


layouts = st.builds(
    planned,
    num_rows=st.integers(0, 5000),
    num_bytes=st.integers(0, 100_000),
    file_rows=st.integers(1, 3000),
    run_bytes=st.integers(100, 10_000),
    window_bytes=st.integers(100, 10_000),
    row_bytes=st.integers(0, 200),
    one_level_tasks=st.integers(0, 20),
)


@QUICK
@given(layout=layouts)
def test_buckets_cover_all_rows_and_parts_all_tasks_of_the_scatter(layout: Layout) -> None:
    assert layout.num_buckets * layout.bucket_rows >= layout.num_rows
    assert (layout.num_buckets - 1) * layout.bucket_rows < max(1, layout.num_rows)
    tasks = [task for part in range(layout.num_parts) for task in layout.tasks_of(part)]
    assert tasks == list(range(layout.num_tasks))


@QUICK
@given(layout=layouts, data=st.data())
def test_windows_cover_the_rows_of_a_file_and_none_crosses_a_bucket(
    layout: Layout, data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, layout.num_rows))
    stop = data.draw(st.integers(first, layout.num_rows))
    cells = []
    for bucket, start, end in layout.windows_of(first, stop):
        assert 0 <= start < end <= layout.bucket_cells
        assert end - start <= layout.window_cells
        assert first == stop or bucket in layout.buckets_of(first, stop)
        cells += [bucket * layout.bucket_cells + cell for cell in range(start, end)]
    assert cells == list(range(first // layout.cell_rows, -(-stop // layout.cell_rows)))


def test_up_to_256_tasks_nothing_is_sorted_between(tmp_path: Path) -> None:
    small, large = planned(50_000_000, 90 * GIB), planned(50_000_000, 91 * GIB)
    assert (small.num_tasks, small.is_sorted) == (255, False)
    assert (large.num_tasks, large.is_sorted) == (258, True)
    state = State(out=tmp_path)
    assert small.runs_of(state, 0) == [small.scattered(state, task) for task in range(255)]
    runs = [run for bucket in range(large.num_buckets) for run in large.runs_of(state, bucket)]
    assert len({run.path for run in runs}) == len({run.form.key for run in runs}) == len(runs)


def test_at_full_size_few_reads_are_each_of_hundreds_of_thousands_of_ids() -> None:
    layout = planned(2_800_000_000, 10 * 1024 * GIB)
    files = [
        (first, min(first + 461_000, layout.num_rows)) for first in range(0, 2_800_000_000, 461_000)
    ]
    counts = count_passes(layout, files)
    assert sum(one.num_reads for one in counts) < 13e6
    assert all(one.num_bytes > 2 * 400_000 * one.num_reads for one in counts[1:])
    # What tasks hold, of evenly spread rows.
    per_row = layout.num_bytes / layout.num_rows + Limits().row_bytes
    assert layout.window_cells * layout.cell_rows * per_row < 257 << 20
    assert layout.bucket_rows * per_row / layout.num_parts < 385 << 20
    form: CellFormat = layout.sorted(State(out=Path("out")), 0, 0).form
    assert form.head_bytes < 1 << 20
