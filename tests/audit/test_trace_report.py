"""The reports of `trace`: answers for people and for machines."""

import json

from pipeline.audit.trace.positions import RowRange
from pipeline.audit.trace.report import (
    beside_json,
    beside_lines,
    counts_json,
    counts_lines,
    row_json,
    row_line,
    text_lines,
)
from pipeline.dataset.provenance.reader import RowProvenance, SourceCounts

ORIGIN = RowProvenance(12, 3, "books", "in/b.jsonl", 'a "b"\n', 1, 5, 1024)


def test_origins_are_worded_for_people_and_for_machines() -> None:
    line = r'row 12, step 3: books in/b.jsonl "a \"b\"\n" chunk 2 of 5, 1,024 tokens'
    assert row_line(ORIGIN) == line
    assert row_line(ORIGIN, 7).startswith("row 12 at 7, step 3: ")
    assert row_json(ORIGIN) == ORIGIN._asdict()
    assert row_json(ORIGIN, text="", offset=0) == {**ORIGIN._asdict(), "text": "", "offset": 0}


def test_two_orders_are_compared_place_by_place() -> None:
    one, two, three = (ORIGIN._replace(document=name) for name in ("x", "y", "z"))
    pairs = [(one, one._replace(step=9)), (two, three), (three, None)]
    assert [line[:8] for line in beside_lines(pairs)][:-1] == ["= row 12", "- row 12", "+ row 12",
                                                              "- row 12"]  # fmt: skip
    *_, summary = beside_lines(pairs)
    assert summary == ("3 rows here, 2 there: 1 are of the same chunk at the same place, 2 at any")
    assert beside_json(three, None) == {"here": row_json(three), "there": None}


def test_no_text_leaves_its_place() -> None:
    assert text_lines("é\ta\x1b[2J\r\nrow 5\u2028x") == "    é\ta\\x1b[2J\\r\n    row 5\\u2028x"


def test_counts_are_worded_for_people_and_for_machines() -> None:
    span = RowRange(name="window 2", start_row=8, stop_row=1300, first_step=2, last_step=9)
    counts = {
        "books": SourceCounts(num_rows=1290, num_documents=40, num_tokens=1_000_000),
        "a": SourceCounts(num_rows=2, num_documents=1, num_tokens=7),
    }
    assert counts_lines(span, counts) == [
        "window 2: steps 2 to 9, rows 8 to 1299",
        "source   rows  documents     tokens",
        "books   1,290         40  1,000,000",
        "a           2          1          7",
        "total   1,292             1,000,007",
    ]
    told = counts_json(span, counts)
    assert (told["num_rows"], told["num_tokens"], told["start_row"]) == (1292, 1_000_007, 8)
    assert told["sources"]["a"] == {"num_rows": 2, "num_documents": 1, "num_tokens": 7}
    json.dumps(told)
