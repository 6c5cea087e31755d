"""Displaced rows: which rows moved, where both orders hold the same rows."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from support import planted
from support.explained import (
    Made,
    findings,
    only,
)


def test_the_same_rows_in_another_order_are_told_apart(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    def swap(rows: list[planted.Ids]) -> list[planted.Ids]:
        rows[100], rows[200] = rows[200], rows[100]
        return rows

    num_rows = len(planted.ordered(whole))
    windows = json.loads((made("whole") / "manifest.json").read_bytes())["order"]["windows"]
    steps = windows[0]["num_steps"]
    assert len(windows) > 1
    changes: dict[str, tuple[Callable[[list[planted.Ids]], list[planted.Ids]], str]] = {
        "steps": (partial(planted.shuffled, inside=16), "all inside their step"),
        "order": (
            partial(planted.shuffled, inside=num_rows),
            "rows that the output's pool has once are at other positions: ",
        ),
        "windows": (
            lambda rows: [
                *planted.shuffled(rows[: steps * 16], steps * 16),
                *rows[steps * 16 :],
            ],
            "all inside their window",
        ),
        "ranks": (partial(planted.rank_after_rank, batch=16, ranks=4), "one of 4 ranks after"),
        "two": (swap, "2 of "),
    }
    for name, (change, words) in changes.items():
        theirs = planted.published(tmp_path / name, whole, change=change)
        found = findings(made("whole"), theirs)
        assert words in only(found, "row order").text, name


def test_an_order_that_begins_elsewhere_is_told_by_how_far(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    theirs = planted.published(tmp_path / "order", whole, change=lambda rows: rows[16:] + rows[:16])
    found = only(findings(made("whole"), theirs), "position")
    assert found.evidence["shift"] == 16
    assert "16 rows earlier" in found.text
