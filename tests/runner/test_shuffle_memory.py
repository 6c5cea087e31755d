"""What a worker holds in a shuffle is bounded by bytes, however short the rows are."""

from pathlib import Path

import pytest
from support.shuffle_peaks import MIB, peaks


@pytest.mark.parametrize("row_ids", [20, 1000])
def test_a_task_holds_little_more_than_a_run(tmp_path: Path, row_ids: int) -> None:
    """Of rows of 20 ids, all that is held beside these is twice as much."""
    run = 48
    seen = peaks(tmp_path, mebibytes=72, row_ids=row_ids, format_="mds", run_mebibytes=run)
    assert {"scatter", "sort", "order"} <= seen.keys()
    assert seen["scatter"] < (1.4 * run + 24) * MIB
    assert seen["sort"] < (1.4 * run + 24) * MIB
    # A third of a run is gathered at a time, and four million ids are written.
    assert seen["order"] < (run + 160) * MIB
