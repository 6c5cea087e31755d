"""Comparisons of the small output: what tests of `verify` share."""

from pathlib import Path

from pipeline.audit.verify.report import Report
from pipeline.dataset.order_manifest import digest_order, write_order_manifest

WINDOWS = [848, 848, 864, 128]
"""Rows of the windows of the small output."""


NUM_ROWS, BATCH = 2688, 16


EQUAL = (True, True, 0, None)


AS_FINISHED = (
    *("algorithm=ettin-pcg64dxsm-v1", "global_batch_size=16"),
    *("max_seq_len=128", "window_tokens=100k"),
)


def quiet(stage: str, done: int, total: int, *_: object) -> None:
    pass


def digested(where: Path, path: Path) -> str:
    """Write the manifest of an order and return its path."""
    write_order_manifest(digest_order(str(where), quiet), path)
    return str(path)


def verdicts(report: Report) -> list[tuple[bool, bool | None, int, int | None]]:
    return [
        (one.equal, one.same_multiset, one.num_differing, one.first_difference)
        for one in report.comparison.windows
    ]
