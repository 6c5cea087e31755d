"""Scope: parts by rows, steps and windows are compared alone, or refused where there are none."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from support.orders import Row, write_order
from support.verified import NUM_ROWS, WINDOWS, digested, quiet

from pipeline.audit.verify.against import verify_against
from pipeline.audit.verify.build_output import Output
from pipeline.audit.verify.report import lines
from pipeline.audit.verify.scope import Scope
from pipeline.audit.verify.target import open_target
from pipeline.core.errors import ConfigError, NotFoundError


@pytest.mark.parametrize("what", ["own manifest", "order", "digest", "output"])
@pytest.mark.parametrize(
    ("part", "bounds"),
    [
        ({"rows": (1030, 1040)}, (1030, 1040)),
        ({"steps": (2, 4)}, (16, 48)),
        ({"steps": (168, 169)}, (2672, 2688)),
        ({"window": 3}, (1696, 2560)),
    ],
)
def test_a_part_is_compared_alone(
    finished: Path, tmp_path: Path, what: str, part: dict[str, Any], bounds: tuple[int, int]
) -> None:
    where = {
        "own manifest": str(finished / "manifest.json"),
        "order": str(finished / "order"),
        "output": str(finished),
    }.get(what) or digested(finished / "order", tmp_path / "order.json")
    report = verify_against(finished, where, **part)
    compared = report.comparison
    assert report.equal
    if what in ("order", "output"):
        assert (compared.start, compared.stop) == bounds
        assert report.comparison.notes == ()
    else:
        assert compared.start == bounds[0] // 1024 * 1024
        assert compared.stop == min(-(-bounds[1] // 1024) * 1024, NUM_ROWS)
        assert "a manifest keeps one digest for every 1,024 rows" in report.comparison.notes[0]
    assert min(one.start for one in compared.windows) == compared.start
    assert max(one.stop for one in compared.windows) == compared.stop


def test_a_window_is_found_by_its_number_though_earlier_ones_are_longer(
    finished: Path, rows: list[Row], tmp_path: Path
) -> None:
    longer = write_order(tmp_path / "order", [[1, 2]] * 16 + rows, [16 + 848, *WINDOWS[1:]])
    assert verify_against(finished, str(longer), window=2).equal
    assert not verify_against(finished, str(longer), rows=(848, 1696)).equal


def test_a_window_by_itself_is_laid_beside_that_of_its_number(
    finished: Path, tmp_path: Path
) -> None:
    lone = shutil.copytree(finished / "order" / "checkpoint_000003", tmp_path / "checkpoint_000003")
    for part in ({}, {"window": 3}, {"rows": (1700, 1710)}, {"steps": (107, 161)}):
        assert verify_against(finished, str(lone), **part).equal
    with pytest.raises(NotFoundError):
        verify_against(finished, str(lone), rows=(1690, 1710))
    with pytest.raises(NotFoundError):
        verify_against(finished, str(lone), window=2)
    beyond = lone.rename(tmp_path / "checkpoint_000005")
    with pytest.raises(NotFoundError, match="windows 1 to 4"):
        verify_against(finished, str(beyond))


@pytest.mark.parametrize("more", [-3, 2])
def test_windows_of_other_lengths_are_not_equal(
    finished: Path, rows: list[Row], tmp_path: Path, more: int
) -> None:
    second = [*rows[848:1696], [1], [2]][: 848 + more]
    order = write_order(tmp_path / "order", [*rows[:848], *second], [848, 848 + more])
    report = verify_against(finished, str(order), window=2)
    assert not report.equal
    assert (report.comparison.num_differing, report.comparison.num_missing) == (0, abs(more))
    assert f"number of rows: 848 here, {848 + more:,} there ({more:+,})" in lines(report)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"rows": (0, 2689)}, "rows 0 to 2,687"),
        ({"rows": (-1, 5)}, "rows 0 to 2,687"),
        ({"rows": (7, 7)}, "rows 0 to 2,687"),
        ({"steps": (0, 4)}, "steps 1 to 168"),
        ({"steps": (168, 170)}, "steps 1 to 168"),
        ({"window": 0}, "windows 1 to 4"),
        ({"window": 5}, "windows 1 to 4"),
    ],
)
@pytest.mark.parametrize("what", ["order", "manifest.json"])
def test_a_part_that_is_not_there_is_refused(
    finished: Path, part: dict[str, Any], message: str, what: str
) -> None:
    with pytest.raises(NotFoundError, match=message) as caught:
        verify_against(finished, str(finished / what), **part)
    assert caught.value.exit_code == 1


def test_a_part_that_the_other_side_does_not_have_is_refused(
    finished: Path, rows: list[Row], tmp_path: Path
) -> None:
    order = write_order(tmp_path / "order", rows[:2000], [848, 848, 304])
    with pytest.raises(NotFoundError):
        verify_against(finished, str(order), rows=(1990, 2010))
    with pytest.raises(NotFoundError):
        verify_against(finished, str(order), window=4)
    with pytest.raises(NotFoundError, match="rows 2,000:2,010 cannot be compared"):
        verify_against(finished, digested(order, tmp_path / "order.json"), rows=(1990, 2010))


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"rows": (2, 40)}, "--rows 2:40: the order of"),
        ({"steps": (2, 4)}, "--steps 2:4, rows 16:48: the order of"),
        ({"window": 2}, "window 2, rows 848:1,696: the order of"),
    ],
)
def test_rows_that_are_not_there_are_told_as_they_were_asked_for(
    finished: Path, part: dict[str, Any], said: str
) -> None:
    asked = {"rows": None, "steps": None, "window": None, **part}
    target = open_target(str(finished), "checkpoint")
    scope = Scope.of(Output.open(finished), target, **asked, show=quiet)
    with pytest.raises(NotFoundError, match=f"^{said} .* has rows 0 to 19\n"):
        scope.bounds("order", 20)


def test_two_parts_at_once_are_refused(finished: Path) -> None:
    with pytest.raises(ConfigError, match="at most one"):
        verify_against(finished, str(finished), rows=(0, 1), window=1)
