"""Alignment: the view of the other side is detected."""

from pathlib import Path

import pytest
from support.orders import read_rows
from support.verified import digested

from pipeline.audit.verify import alignment
from pipeline.audit.verify.against import verify_against


@pytest.mark.parametrize("view", ["stored", "encoder", "decoder"])
@pytest.mark.parametrize("own_view", ["stored", "encoder", "decoder"])
def test_the_view_of_the_other_side_is_found_out(
    viewed: dict[str, Path], tmp_path: Path, view: str, own_view: str
) -> None:
    out, order = viewed[own_view], viewed[view] / "order"
    for what in (str(order), digested(order, tmp_path / "order.json"), str(viewed[view])):
        report = verify_against(out, what)
        assert report.equal
        assert report.comparison.view == view


def test_a_view_that_is_asked_for_is_not_doubted(viewed: dict[str, Path]) -> None:
    order = str(viewed["decoder"] / "order")
    assert verify_against(viewed["stored"], order, view="decoder").equal
    report = verify_against(viewed["stored"], order, rows=(0, 100), view="encoder")
    assert not report.equal
    assert report.comparison.view == "encoder"


def test_a_view_that_only_later_rows_tell_from_another_is_found_out(
    viewed: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alignment, "_SAMPLE_ROWS", 1)
    lengths = [len(row) for row in read_rows(viewed["stored"] / "order")]
    short = next(row for row, length in enumerate(lengths) if length <= 100)
    order = str(viewed["decoder"] / "order")
    report = verify_against(viewed["stored"], order, rows=(short, short + 100))
    assert report.equal
    assert report.comparison.view == "decoder"
    assert report.comparison.why_view.startswith("1 of 1 rows from row")
