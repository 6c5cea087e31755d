"""What a worker holds in a shuffle is bounded by bytes, however short the rows are."""

from pathlib import Path

from support.shuffle_peaks import MIB, peaks


def test_a_task_of_short_rows_holds_little_more_than_a_run(tmp_path: Path) -> None:
    """Of rows of 20 ids, all that is held beside their bytes is twice as much."""
    run = 48
    seen = peaks(tmp_path, mebibytes=72, row_ids=20, format_="mds", run_mebibytes=run)
    assert seen["scatter"] < (1.6 * run + 24) * MIB
    assert seen["sort"] < (1.6 * run + 24) * MIB
    # Four million ids are written at a time, of rows as they are stored and as they are read.
    assert seen["order"] < (run + 160) * MIB
