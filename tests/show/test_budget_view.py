"""Budgets: every sum that the view names holds, of every manifest that ships and of builds."""

from pathlib import Path

import pytest
from support.paths import REPOSITORY

from pipeline.core.errors import NotFoundError
from pipeline.show import Shown, budget_view


def check(answer: dict, num_rows: int) -> None:
    """Check every sum."""
    for one in answer["sources"]:
        assert one["read"] + one["added"] == one["written"] + one["discarded"]
        assert one["available"] == one["written"] - one["validation"]
        assert one["available"] + one["repeated"] == one["drawn"] + one["unused"]
        assert one["drawn"] == one["asked"] + one["overshoot"]
        dropped = sum(reason["documents"] for reason in one["dropped"].values())
        assert one["documents"] == one["kept"] + dropped
        assert min(one["unused"], one["repeated"]) == 0
    totals, steps = answer["totals"], answer["steps"]
    for key in ("asked", "available", "drawn", "discarded", "unused", "repeated", "documents"):
        assert totals[key] == sum(one[key] for one in answer["sources"])
    spent = steps["tokens"] + totals["dropped"] + totals["cut"]
    assert totals["drawn"] + totals["view_added"] == spent
    assert steps["rows"] == num_rows
    out = {one["name"]: 0 for one in answer["sources"]}
    for flow in answer["flows"]:
        assert flow["tokens"] > 0
        if flow["from"] in out:
            out[flow["from"]] += flow["tokens"]
    for one in answer["sources"]:
        assert out[one["name"]] == one["written"] + one["discarded"] + one["repeated"]


def test_budgets_of_every_shipped_manifest_add_up() -> None:
    paths = sorted((REPOSITORY / "manifests").glob("*.json"))
    assert paths
    for path in paths:
        shown = Shown.open(path)
        check(budget_view(shown), shown.num_rows)


def test_budgets_of_builds_add_up(shown: Shown, sliced: Path) -> None:
    for one in (shown, Shown.open(sliced)):
        answer = budget_view(one)
        check(answer, one.num_rows)
        by_name = {source["name"]: source for source in answer["sources"]}
        assert by_name["notes"]["repeated"] > 0
        assert by_name["prose"]["unused"] > 0
        assert by_name["prose"]["dropped"]["duplicate_id"]["documents"] == 2
        assert by_name["prose"]["category"] == "prose"


def test_an_order_without_a_manifest_has_no_budgets(finished: Path) -> None:
    shown = Shown.open(finished / "order")
    assert shown.state == "published"
    with pytest.raises(NotFoundError, match="has no manifest of a build"):
        budget_view(shown)
