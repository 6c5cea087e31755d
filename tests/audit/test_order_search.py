"""Order search: another seed, epoch or algorithm is found."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import planted
from support.clusters import Build
from support.explained import Made, findings, only

from pipeline.audit.verify.against import verify_against


@pytest.mark.parametrize(
    ("given", "kind", "ways"),
    [
        ({"seed": 22}, "seed or epoch", "epoch 1 of seed 21, or seed 22 at epoch 0"),
        ({"epoch": 2}, "seed or epoch", "seed + epoch = 23: epoch 2 of seed 21, or seed 23"),
        ({"seed": 17}, "seed", "seed 17 at epoch 0"),
        ({"seed": 12345}, "seed", "seed 12345 at epoch 0"),
    ],
)
def test_another_seed_or_epoch_is_found(
    made: Made,
    whole: planted.Planted,
    tmp_path: Path,
    given: dict[str, Any],
    kind: str,
    ways: str,
) -> None:
    theirs = planted.published(tmp_path / "order", whole, **given)
    for part in ({}, {"rows": (200, 330)}):
        assert ways in only(findings(made("whole"), theirs, **part), kind).text


def test_a_seed_that_the_other_side_declares_is_tried(
    finished: Path, small: Path, tmp_path: Path, build_here: Build
) -> None:
    other = build_here(small, tmp_path / "out", "order.seed=987654")
    kinds = [one for one in verify_against(finished, str(other)).findings if one.kind == "seed"]
    stated, found = kinds
    assert stated.text.startswith("order.seed is ")
    num_read = found.evidence["num_read"]
    assert f"in that order this pool gives all {num_read:,} rows that were read" in found.text
    assert found.evidence["seed"] == 987_654
    assert found.evidence["num_reproduced"] == num_read > 1000


def test_the_first_row_that_another_seed_does_not_give_is_named(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    edited = whole.with_ids(7, [5, 6, 7])
    theirs = planted.published(tmp_path / "order", edited, seed=17)
    found = findings(made("whole"), theirs)["seed"]
    rows = planted.ordered(replace(edited, order={**edited.order, "seed": 17}))
    first = next(row for row, ids in enumerate(rows) if list(ids) == [5, 6, 7])
    assert found.evidence["num_reproduced"] == found.evidence["num_read"] - 1
    assert found.text.endswith(f"and another first at row {first:,}")


def test_another_algorithm_is_found(made: Made, whole: planted.Planted, tmp_path: Path) -> None:
    """Ours is the published one by default of its mixture, theirs that of a mixture without one."""
    feistel = {**whole.order, "algorithm": "feistel-v1"}
    theirs = planted.published(tmp_path / "order", replace(whole, order=feistel))
    found = only(findings(made("whole"), theirs), "order algorithm")
    assert found.evidence["algorithm"] == "feistel-v1"
    theirs = planted.published(tmp_path / "published", whole)
    found = only(findings(made("whole, feistel"), theirs), "order algorithm")
    assert "ettin-pcg64dxsm-v1, epoch 0 of seed 21" in found.text


def test_seed_and_epoch_are_told_apart_where_the_order_knows_both(
    made: Made, tmp_path: Path
) -> None:
    pool = planted.read(made("whole, feistel"))
    for kind, value in (("seed", 22), ("epoch", 2)):
        given: dict[str, Any] = {kind: value}
        theirs = planted.published(tmp_path / kind, pool, **given)
        found = only(findings(made("whole, feistel"), theirs), kind)
        assert found.evidence[kind] == value
    theirs = planted.published(tmp_path / "gone", pool.without([300]))
    found = only(findings(made("whole, feistel"), theirs), "row count")
    assert found.evidence["k"] == -1


def test_rows_that_were_not_put_in_order_are_told(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    rows = planted.viewed(whole.rows, "encoder", 128)
    theirs = planted.publish(tmp_path / "order", rows, 16)
    assert (
        "in the order of the pool, as if never shuffled"
        in only(findings(made("whole"), theirs), "row order").text
    )
