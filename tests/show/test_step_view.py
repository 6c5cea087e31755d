"""Steps and rows: what provenance and the rows themselves say, and what a trainer is given."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from support.builds import run_well

from pipeline import dataset
from pipeline.core.errors import NotFoundError
from pipeline.feed import IGNORED, Mlm, make_feed
from pipeline.show import Shown, proof_view, row_view, step_view


def test_a_step_lists_its_rows_as_trace_does(shown: Shown, finished: Path) -> None:
    answer = step_view(shown, step=3)
    traced = json.loads(run_well("trace", finished, "--step", "3", "--text", "--json"))
    assert (answer["first_row"], answer["num_rows"]) == (traced[0]["row"], len(traced))
    for row, expected in zip(answer["rows"], traced, strict=True):
        start = row.pop("start")
        text = expected.pop("text")
        del expected["step"]
        assert row == expected
        assert start == text[:80]
    sums = {source: one["tokens"] for source, one in answer["counts"].items()}
    assert sum(sums.values()) == sum(one["num_tokens"] for one in traced)
    assert sum(one["rows"] for one in answer["counts"].values()) == len(traced)
    assert len(answer["sha256"]) == 64
    (first, second, *_) = shown.checkpoints()
    found = [step_view(shown, step=first[1] + more)["checkpoint"] for more in (0, 1)]
    assert [answer["checkpoint"], *found] == [first[0], first[0], second[0]]


def test_a_row_has_its_tokens_and_where_it_was_cut(shown: Shown) -> None:
    assert shown.trace is not None
    ids = dataset.open(shown.where).rows.take(np.arange(shown.num_rows))
    origins = shown.trace.provenance.rows(0, shown.num_rows)
    middle = next(one for one in origins if 0 < one.chunk < one.num_chunks - 1)
    for origin in (origins[0], origins[-1], middle):
        answer = row_view(shown, row=origin.row)
        assert [one["id"] for one in answer["tokens"]] == ids[origin.row].tolist()
        assert (answer["step"], answer["document"]) == (origin.step, origin.document)
        assert answer["is_cut_before"] == (origin.chunk > 0)
        assert answer["is_cut_after"] == (origin.chunk < origin.num_chunks - 1)
    # Of chunks that are encoded again it is not known, but only last ones borrow.
    assert row_view(shown, row=middle.row)["borrowed"] == 0


def test_the_same_chunk_in_other_rows_is_named(shown: Shown) -> None:
    assert shown.trace is not None
    origins = shown.trace.provenance.rows(0, shown.num_rows)
    again = {}
    for one in origins:
        again.setdefault((one.source, one.document, one.chunk), []).append(one.row)
    rows = next(rows for rows in again.values() if len(rows) > 1)
    assert row_view(shown, row=rows[0])["other_rows"] == rows[1:]
    assert row_view(shown, row=rows[1])["other_rows"] == [one for one in rows if one != rows[1]]


def test_an_encoder_is_given_what_the_feed_gives(shown: Shown) -> None:
    row = 37
    answer = row_view(shown, row=row)
    feed = make_feed(
        dataset.open(shown.where), objective=Mlm(mask_prob=0.3, seed=0), micro_batch_rows=16
    )
    feed.seek_row(row // 16 * 16)
    batch = next(iter(feed))
    start, stop = batch.inputs["cu_seq_lens_q"][[row % 16, row % 16 + 1]]
    ids, labels = (batch.inputs[name][0, start:stop] for name in ("input_ids", "labels"))
    fed = answer["encoder"]
    assert fed["ids"] == ids.tolist()
    assert fed["masked"] == np.flatnonzero(labels != IGNORED).tolist()
    assert fed["labels"] == labels[labels != IGNORED].tolist()
    assert [one["id"] for one in fed["tokens"]] == fed["ids"]
    stored = [one["id"] for one in answer["tokens"]]
    assert [stored[place] for place in fed["masked"]] == fed["labels"]
    # The rows were written for an encoder.
    assert answer["decoder"] is None
    assert "was written for the view encoder" in answer["decoder_problem"]


def test_rows_as_stored_are_given_to_both(sliced: Path) -> None:
    shown = Shown.open(sliced)
    answer = row_view(shown, row=20)
    assert answer["encoder_problem"] is answer["decoder_problem"] is None
    assert answer["decoder"]["ids"][0] == shown.special.cls_id
    assert answer["encoder"]["ids"][-1] == shown.special.sep_id


def test_borrowed_tokens_are_those_that_the_chunk_before_lacks(sliced: Path) -> None:
    """Their texts, joined, are the document again."""
    shown = Shown.open(sliced)
    assert shown.trace is not None
    borrowers = [
        one
        for one in shown.trace.provenance.rows(0, shown.num_rows)
        if one.chunk > 0 and one.chunk == one.num_chunks - 1
    ]
    found = [row_view(shown, row=one.row)["borrowed"] for one in borrowers]
    assert any(found)
    for origin, borrowed in zip(borrowers, found, strict=True):
        before = [
            one
            for one in shown.trace.document(origin.document, origin.source)
            if one.chunk == origin.chunk - 1
        ]
        assert borrowed == (128 - before[0].num_tokens if before else None)


def test_of_a_very_long_row_the_first_tokens_are_listed(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = row_view(shown, row=5)
    monkeypatch.setattr(sys.modules["pipeline.show.row_view"], "MOST_TOKENS", 10)
    cut = row_view(shown, row=5)
    # Their ids: where a character is cut, it is spelled as bytes.
    assert [one["id"] for one in cut["tokens"]] == [one["id"] for one in whole["tokens"][:10]]
    assert cut["num_tokens"] == whole["num_tokens"] == 10 + cut["num_tokens_cut"]
    assert cut["encoder"]["ids"] == whole["encoder"]["ids"][:10]
    assert whole["num_tokens_cut"] == 0


def test_rows_and_steps_that_are_not_there_are_refused(shown: Shown) -> None:
    for step in (0, 10**14):
        hint = "steps count from 1" if step == 0 else "11 rows at the end, which fill no step"
        with pytest.raises(NotFoundError, match=rf"step {step}: is not in .*\nhint: {hint}"):
            step_view(shown, step=step)
    for row in (shown.num_rows, 10**14):
        for view in (row_view, proof_view):
            with pytest.raises(NotFoundError, match=rf"row {row}: is not in .*\nhint: {hint}"):
                view(shown, row=row)
    pool = Shown.open(Path(shown.where) / "train")
    with pytest.raises(
        NotFoundError, match=r"is not in the order, which has rows 0 to .*\nhint: rows"
    ):
        row_view(pool, row=pool.num_rows)


def test_rows_of_a_step_are_listed_from_any_of_them(shown: Shown) -> None:
    whole = step_view(shown, step=3)
    for first, rows, start, stop in (
        (40, 3, 8, 11),
        (46, 100, 14, 16),
        (20, 15, 0, 3),
        (40, 0, 8, 9),
    ):
        some = step_view(shown, step=3, first=first, rows=rows)
        assert some["rows"] == whole["rows"][start:stop]
        assert (some["num_rows"], some["counts"]) == (whole["num_rows"], whole["counts"])
    assert step_view(shown, step=3, rows=2)["rows"] == whole["rows"][:2]
    for first, rows in ((48, 1), (0, 32)):
        with pytest.raises(NotFoundError, match=r"are not in step 3, which has rows 32 to 47"):
            step_view(shown, step=3, first=first, rows=rows)
