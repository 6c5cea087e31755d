"""The order that a manifest declares: made of the output's own pool, and digested."""

from pathlib import Path

import pytest
from support.clusters import Build
from support.made_once import made_once

from pipeline.audit.verify import verify_against
from pipeline.audit.verify.comparison import Finding


@pytest.fixture(scope="module")
def others(small: Path, tmp_path_factory: pytest.TempPathFactory, build_here: Build) -> Path:
    """Outputs of another seed: `same`, and `cut`, whose rows are shorter; not to be changed."""

    def make(folder: Path) -> None:
        for name, more in (("same", ()), ("cut", ("order.max_seq_len=100",))):
            build_here(small, folder / name, "order.seed=987654", *more)

    return made_once(tmp_path_factory, "declared-order", make)


def replayed(finished: Path, other: Path, **part: tuple[int, int]) -> list[Finding]:
    found = verify_against(finished, str(other / "manifest.json"), **part).findings
    return [one for one in found if "num_nodes" in one.evidence]


def test_a_manifest_of_another_seed_is_reproduced(finished: Path, others: Path) -> None:
    [found] = replayed(finished, others / "same")
    num_rows = found.evidence["stop"]
    assert found.kind == "seed"
    assert found.text == (
        "the other side declares epoch 0 of seed 987654 of ettin-pcg64dxsm-v1; in that order this"
        f" pool gives all rows 0:{num_rows:,} as they are there"
    )
    assert num_rows > 1024
    assert found.evidence["num_nodes"] == found.evidence["num_nodes_reproduced"] == 3


def test_of_a_part_that_part_is_reproduced(finished: Path, others: Path) -> None:
    [found] = replayed(finished, others / "same", rows=(1030, 1040))
    assert found.evidence["start"] == 1024
    assert "this pool gives all rows 1,024:" in found.text


def test_where_it_is_not_reproduced_the_first_rows_are_named(finished: Path, others: Path) -> None:
    [found] = replayed(finished, others / "cut")
    assert found.text.endswith("this pool gives others among the 1,024 rows from row 0 on")
    assert found.evidence["num_nodes_reproduced"] == 0


def test_without_another_order_nothing_is_replayed(finished: Path, others: Path) -> None:
    assert replayed(finished, finished) == []
    # Rows are there, so that the order is searched for among them.
    found = verify_against(finished, str(others / "same")).findings
    assert not [one for one in found if "num_nodes" in one.evidence]
