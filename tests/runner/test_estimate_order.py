"""What an order at full size is said to leave on the disk on its way."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.pass_counts import peak_bytes
from support.planned import mixture

from pipeline.order.permutation import shuffle_blocks
from pipeline.runner.estimate_order import (
    SHUFFLED_IN_MEMORY,
    OrderVolume,
    Stage,
    Term,
    order_terms,
)
from pipeline.runner.measure_output import FileCost, OutputCosts
from pipeline.runner.shuffle import Layout, Limits, lay_out

NOTHING = FileCost(file_bytes=0, item_bytes=0, item_seconds=0)
COSTS = OutputCosts(
    rows=NOTHING, provenance=NOTHING, documents=NOTHING, drawn=NOTHING, shard_seconds=0
)
ROW_IDS, NAME_BYTES, BATCH = 1000, 20, 1000


def lay(num_rows: int) -> Layout:
    limits, num_bytes = Limits(), num_rows * 2 * ROW_IDS
    return lay_out(
        limits,
        key="",
        num_rows=num_rows,
        num_bytes=num_bytes,
        id_bytes=2,
        num_tasks=-(-num_bytes // limits.run_bytes),
        file_rows=500 * BATCH,
    )


def terms_of(tmp_path: Path, num_rows: int, algorithm: str = "feistel-v1") -> list[Term]:
    rows = OrderVolume(
        num_samples=num_rows,
        num_tokens=num_rows * ROW_IDS,
        name_bytes=NAME_BYTES,
        num_places=10,
        steps_by_file=(500,) * (num_rows // BATCH // 500),
        batch=BATCH,
        pool_bytes=num_rows * 2 * ROW_IDS,
        layout=lay(num_rows),
    )
    declared = mixture(tmp_path)
    declared = replace(declared, order=replace(declared.order, algorithm=algorithm))
    return [*order_terms(declared, rows, COSTS)]


def held(terms: list[Term], stage: Stage, *kinds: str) -> float:
    return sum(
        term.num_bytes
        for term in terms
        if term.what in kinds
        and term.written <= stage
        and (term.until is None or stage <= term.until)
    )


@pytest.mark.parametrize(("num_rows", "is_sorted"), [(10_000_000, False), (100_000_000, True)])
def test_rows_are_laid_out_as_often_as_passes_keep_them(
    tmp_path: Path, num_rows: int, is_sorted: bool
) -> None:
    terms, layout = terms_of(tmp_path, num_rows), lay(num_rows)
    kinds = "scattered rows", "sorted rows"
    assert layout.is_sorted == is_sorted
    assert held(terms, Stage.SORT, *kinds) == pytest.approx(peak_bytes(layout), rel=0.05)
    assert held(terms, Stage.ORDER, *kinds) == pytest.approx(layout.num_bytes, rel=0.05)
    assert held(terms, Stage.DIVIDE, *kinds) == 0
    files = sum(term.num_files for term in terms if term.what == "scattered rows")
    assert files == layout.num_tasks


def test_rows_of_the_index_lie_there_twice_while_they_are_merged(tmp_path: Path) -> None:
    kinds = "divided provenance", "merged provenance"
    once, twice = terms_of(tmp_path, 100_000_000), terms_of(tmp_path, 2_000_000_000)
    assert held(once, Stage.MERGE, *kinds) == held(once, Stage.INDEX, *kinds)
    assert held(once, Stage.INDEX, *kinds) == pytest.approx(6_800_000_000, rel=0.01)
    assert held(twice, Stage.MERGE, *kinds) == pytest.approx(2 * 136_000_000_000, rel=0.01)
    assert held(twice, Stage.INDEX, *kinds) == pytest.approx(136_000_000_000, rel=0.01)


def test_the_published_permutation_goes_through_the_disk_in_pairs(tmp_path: Path) -> None:
    assert SHUFFLED_IN_MEMORY == shuffle_blocks.BLOCK
    terms = terms_of(tmp_path, 10_000_000, "ettin-pcg64dxsm-v1")
    kinds = "permutation", "pairs of a permutation"
    assert held(terms, Stage.PERMUTE, *kinds) == pytest.approx(12 * 10_000_000, rel=1e-3)
    assert held(terms, Stage.SCATTER, *kinds) == pytest.approx(8 * 10_000_000, rel=1e-3)
    few = terms_of(tmp_path, 5_000_000, "ettin-pcg64dxsm-v1")
    assert held(few, Stage.PERMUTE, *kinds) == pytest.approx(8 * 5_000_000, rel=1e-3)
    assert held(terms_of(tmp_path, 10_000_000), Stage.FINISH, *kinds) == 0
