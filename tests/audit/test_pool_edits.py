"""Pool edits: rows missing, added, made again or altered are counted and named."""

from pathlib import Path

import numpy as np
import pytest
from support import planted
from support.explained import Made, findings, only, row_of

from pipeline.audit.verify import compare
from pipeline.audit.verify.build_output import Output
from pipeline.audit.verify.explain import pool_index
from pipeline.audit.verify.explain.arrangement import Arrangement, Edit, partitions_of
from pipeline.audit.verify.explain.pool_edits import PoolEdits


@pytest.mark.parametrize("rows", [[300], [40, 41, 42, 500]])
def test_missing_rows_are_counted_and_named(
    made: Made, whole: planted.Planted, tmp_path: Path, rows: list[int]
) -> None:
    theirs = planted.published(tmp_path / "order", whole.without(rows))
    found = only(findings(made("whole"), theirs), "row count")
    assert found.evidence["k"] == -len(rows)
    assert found.evidence["their_num_samples"] == len(whole.rows) - len(rows)
    places = found.evidence["places"]
    assert sum(place["k"] for place in places) == -len(rows)
    for row, place in zip((rows[0], rows[-1]), (places[0], places[-1]), strict=True):
        assert row_of(whole, row) in place["text"]
    assert f"{len(rows)} fewer" in found.text


def test_missing_rows_are_told_from_a_part_of_the_order(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    theirs = planted.published(tmp_path / "order", whole.without([300]), steps_per_window=15)
    for part in ({"rows": (100, 260)}, {"steps": (3, 12)}):
        found = only(findings(made("whole"), theirs, **part), "row count")
        assert found.evidence["k"] == -1
        assert whole.partitions[300].split("-tokenized")[0] in found.text


def test_of_a_large_order_a_few_rows_are_read_and_the_missing_one_is_named(
    made: Made, whole: planted.Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "MOST_EVIDENCE", 40)
    monkeypatch.setattr(pool_index, "_ROWS_AT_PLACE", 6)
    theirs = planted.published(tmp_path / "order", whole.without([300, 700]))
    found = only(findings(made("whole"), theirs), "row count")
    assert found.evidence["k"] == -2
    for row in (300, 700):
        assert f"{row_of(whole, row)} (document " in found.text


def test_added_rows_are_counted_whether_they_are_new_or_copies(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    new = np.array([planted.CLS_ID, 5, 6, 7, planted.SEP_ID], np.uint32)
    for name, ids, num_unknown in (("new", new, 1), ("copy", whole.rows[299], 0)):
        theirs = planted.published(tmp_path / name, whole.with_row(300, ids))
        found = only(findings(made("whole"), theirs), "row count")
        assert found.evidence["k"] == 1
        assert found.evidence["places"][0]["num_unknown"] == num_unknown
        assert f"added after {row_of(whole, 299)}" in found.text


def test_a_partition_that_is_missing_is_named_with_all_its_rows(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    gone = whole.rows_of(whole.names[2])
    theirs = planted.published(tmp_path / "order", whole.without(gone))
    found = only(findings(made("whole"), theirs), "row count")
    assert found.evidence["k"] == -len(gone)
    assert f"{row_of(whole, gone[0])} to {row_of(whole, gone[-1])} are missing" in found.text


@pytest.mark.parametrize(
    "other", ["whole, prefix space", pytest.param("whole at 96", marks=pytest.mark.slow)]
)
def test_a_partition_that_was_made_again_is_named(
    made: Made, whole: planted.Planted, tmp_path: Path, other: str
) -> None:
    name = whole.names[3]
    again = planted.read(made(other)).with_partitions(whole.names)
    theirs = planted.published(tmp_path / "order", whole.remade(name, again))
    found = only(findings(made("whole"), theirs), "partition")
    [place] = found.evidence["places"]
    assert place["partitions"] == [name.split("-tokenized")[0]]
    assert place["their_num_rows"] == len(again.rows_of(name))
    assert place["our_num_rows"] == len(whole.rows_of(name))
    assert ("prefix space on" if "prefix" in other else "whole-v1 at 96") in found.text


def test_where_other_chunks_were_sampled_the_sample_is_named(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    """Of `long` the mixture takes a part; the others are whole, and do not differ."""
    name = next(name for name in whole.names if name.startswith("long/"))
    again = planted.read(made("whole, sample")).with_partitions(whole.names)
    theirs = planted.published(tmp_path / "order", whole.remade(name, again))
    found = findings(made("whole"), theirs)
    assert {"sample"} < set(found) <= {"sample", "partition", "row count"}
    assert found["sample"].evidence == {
        "partitions_by_sample": {"keyed-v1, seed 0": ["long/long_0"]}
    }
    assert "of long/long_0 a part by keyed-v1, seed 0; the other side may have taken other" in (
        found["sample"].text
    )


def test_a_partition_of_other_texts_is_named_without_a_guess(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    name = whole.names[3]
    draw = np.random.default_rng(3)
    changed = whole
    for row in whole.rows_of(name):
        changed = changed.with_ids(row, draw.permutation(whole.rows[row]))
    theirs = planted.published(tmp_path / "order", changed)
    found = only(findings(made("whole"), theirs), "partition")
    assert found.evidence["places"][0]["partitions"] == [name.split("-tokenized")[0]]
    assert "fits" not in found.text


def test_a_single_altered_id_is_put_down_to_its_document(
    made: Made, whole: planted.Planted, tmp_path: Path
) -> None:
    ids = whole.rows[300].copy()
    ids[3] += 1
    theirs = planted.published(tmp_path / "order", whole.with_ids(300, ids))
    found = only(findings(made("whole"), theirs), "rows")
    assert found.evidence["num_rows"] == 1
    assert f"{row_of(whole, 300)} (document " in found.text


@pytest.mark.parametrize(
    ("unknown", "num_rows", "said"),
    [
        (
            [2],
            8,
            "1 row is not in the output's pool, which has others there: 1 of the rows from row 3",
        ),
        ([2, 5], 2, "2 rows are not in the output's pool, which has others there: row 3 of "),
    ],
)
def test_altered_rows_are_named_in_words_that_can_be_read(
    made: Made, unknown: list[int], num_rows: int, said: str
) -> None:
    output = Output.open(made("whole"))
    parts = partitions_of(output)
    arrangement = Arrangement(parts=parts, order=np.arange(len(parts.names)))
    edit = Edit(
        first=3, place=3, num_ours=num_rows, num_theirs=num_rows,
        unknown=np.array(unknown), moved=np.empty(0, np.int64),
    )  # fmt: skip
    changes = PoolEdits(output, arrangement, [edit], np.arange(100, 200))
    [finding] = changes.findings(len(arrangement.row_of))
    assert finding.text.startswith(said)
    where = "at position 2" if len(unknown) == 1 else "first at position 2"
    assert finding.text.endswith(f" to row {2 + num_rows} of {parts.names[0]}, {where}")
