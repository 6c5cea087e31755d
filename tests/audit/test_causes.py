"""Causes: every kind of divergence, planted once, is named, and nothing else is."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support import planted
from support.clusters import Build
from support.explained import Made, findings, only, swapped
from support.paths import SHARED

from pipeline.audit.verify.against import verify_against
from pipeline.audit.verify.build_output import Output
from pipeline.audit.verify.explain.causes import NegativeIds
from pipeline.core.errors import InputError

REFERENCE = SHARED / "golden"


needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"the reference chain's outputs do not lie at {REFERENCE}"
)


def test_what_is_the_same_needs_no_explanation(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    for dtype in ("uint32", "uint16", "int64"):
        report = verify_against(
            made("whole"), str(planted.published(tmp_path / dtype, whole, dtype=dtype))
        )
        assert report.equal
        assert report.findings == ()


def test_several_things_may_differ_at_once(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    pool = whole.in_order(swapped(whole, 1, 2)).without([200])
    theirs = planted.published(tmp_path / "order", pool, seed=42)
    found = findings(made("whole"), theirs)
    assert set(found) == {"seed", "shard order", "row count"}
    assert found["row count"].evidence["k"] == -1

    sliced = planted.read(made("slice"))
    theirs = planted.published(tmp_path / "view", sliced, view="stored", epoch=3)
    assert set(findings(made("slice"), theirs)) == {"seed or epoch", "view"}


def test_another_view_is_named(made: Made, tmp_path: Path) -> None:
    pool = planted.read(made("slice"))
    for view in ("stored", "decoder"):
        theirs = planted.published(tmp_path / view, pool, view=view)
        assert verify_against(made("slice"), str(theirs)).equal
        found = only(findings(made("slice"), theirs, view="encoder"), "view")
        assert found.evidence["theirs"] == view
        assert found.evidence["ours"] == "encoder"
    theirs = planted.published(tmp_path / "shorter", pool, max_seq_len=100)
    found = only(findings(made("slice"), theirs), "view")
    assert found.evidence["their_max_seq_len"] == 100


def test_ids_that_were_kept_in_too_few_bits_are_told(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    def narrow(rows: list[planted.Ids]) -> list[planted.Ids]:
        return [row.astype(np.int16).astype(np.int64).astype(np.uint32) for row in rows]

    theirs = planted.published(tmp_path / "wider again", whole, change=narrow)
    assert only(findings(made("whole"), theirs), "dtype").evidence["modulo"] == 1 << 16
    theirs = planted.published(tmp_path / "and gone", whole.without([300]), change=narrow)
    assert set(findings(made("whole"), theirs)) == {"dtype", "row count"}


def test_negative_ids_are_named_even_where_rows_are_equal_without_the_sign() -> None:
    rows = SimpleNamespace(num_wrapped=7, dtype="int16")
    comparison: Any = SimpleNamespace(theirs=rows)
    cause = NegativeIds()
    assert cause.applies(comparison)
    [found] = cause.explain(comparison)
    assert found.kind == "dtype"
    assert "7 ids that were read of the other side are negative in int16" in found.text
    rows.num_wrapped = 0
    assert not cause.applies(comparison)


def test_another_tokenizer_is_told_from_other_texts(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    plain = np.arange(2, 50_250)
    others = dict(
        zip(plain.tolist(), np.random.default_rng(3).permutation(plain).tolist(), strict=True)
    )
    theirs = planted.published(
        tmp_path / "vocabulary", whole, change=partial(planted.with_other_ids, change=others)
    )
    found = only(findings(made("whole"), theirs), "tokenizer")
    assert found.evidence["share_of_words"] < 0.05

    def larger(rows: list[planted.Ids]) -> list[planted.Ids]:
        return [row + np.uint32(70_000) for row in rows]

    theirs = planted.published(tmp_path / "larger", whole, change=larger)
    found = only(findings(made("whole"), theirs), "tokenizer")
    assert found.evidence["vocab_size"] == 50_368

    def mixed(rows: list[planted.Ids]) -> list[planted.Ids]:
        draw = np.random.default_rng(4)
        return [np.concatenate([row[:1], draw.permutation(row[1:-1]), row[-1:]]) for row in rows]

    theirs = planted.published(tmp_path / "texts", whole, change=mixed)
    assert only(findings(made("whole"), theirs), "text").evidence["share_of_words"] > 0.2


def test_an_order_that_goes_on_is_told_by_its_number_of_rows(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    num_rows = len(planted.ordered(whole))
    for name, change in (
        ("longer", lambda rows: rows + rows[:16]),
        ("shorter", lambda rows: rows[:-32]),
    ):
        theirs = planted.published(tmp_path / name, whole, change=change)
        found = only(findings(made("whole"), theirs), "row count")
        their_num_rows = num_rows + (16 if name == "longer" else -32)
        assert found.evidence == {"our_num_rows": num_rows, "their_num_rows": their_num_rows}
        assert f"{their_num_rows:,} ordered rows, the output {num_rows:,}" in found.text


@pytest.mark.slow
@needs_reference
@pytest.mark.parametrize("name", ["slice-edge", "reencode-edge"])
def test_divergences_from_the_reference_chain_are_named(
    name: str, tmp_path: Path, build_here: Build
) -> None:
    golden = REFERENCE / name
    out = build_here(golden / "mixture.yaml", tmp_path / "out")
    for view in ("encoder", "decoder"):
        assert verify_against(out, str(golden / "order" / view)).equal
    pool = planted.read(out)
    gone = len(pool.rows) // 3
    theirs = planted.published(tmp_path / "gone", pool.without([gone]), view="decoder")
    found = findings(out, theirs)
    assert found.pop("row count").evidence["k"] == -1
    assert set(found) <= {"view"}
    theirs = planted.published(tmp_path / "epoch", pool, epoch=1)
    only(findings(out, theirs), "seed or epoch")
    shards = planted.rows_by_shard(out)
    assert len(shards) > 2
    theirs = planted.published(
        tmp_path / "shards", pool.take(np.concatenate(shards[::-1]).tolist())
    )
    only(findings(out, theirs), "shard order")


def test_what_nothing_explains_says_what_was_tried(made: Made, tmp_path: Path) -> None:
    # Every row is there twice, so that none tells where it belongs.
    pool = planted.read(made("doubled"))
    theirs = planted.published(tmp_path / "order", pool, seed=777_777)
    found = only(findings(made("doubled"), theirs), "unknown")
    assert found.evidence["num_known"] == found.evidence["num_read"]
    assert found.evidence["num_orders_tried"] > 50
    assert (
        f"none of the {found.evidence['num_orders_tried']:,} orders that were tried" in found.text
    )
    # A neighbour is found all the same.
    theirs = planted.published(tmp_path / "near", pool, seed=23)
    assert set(findings(made("doubled"), theirs)) == {"seed or epoch"}


def test_without_the_tokenizer_what_needs_none_is_explained(
    made: Made, whole: planted.Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(self: Output) -> None:
        raise InputError("modernbert: is gone")

    monkeypatch.setattr(Output, "tokenizer", property(gone))
    theirs = planted.published(tmp_path / "order", whole, seed=17)
    found = findings(made("whole, stored"), theirs, view="stored")
    assert set(found) == {"seed"}
    other = planted.read(made("whole, prefix space"))
    theirs = planted.published(tmp_path / "prefix", other, view="stored")
    found = findings(made("whole, stored"), theirs, view="stored")
    assert "could not be tried: modernbert: is gone" in only(found, "unknown").text
