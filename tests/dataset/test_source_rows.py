"""Lines of sources add up, whatever their numbers; and what does not is found."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.imbalances import imbalances

from pipeline.dataset.source_rows import (
    SourceRow,
    in_units,
    shares,
    summed,
    with_sums,
)

AMOUNTS = st.integers(0, 10**13)


@st.composite
def source_rows(draw: st.DrawFn) -> list[SourceRow]:
    """Lines that add up, of sources by category and name."""
    names = sorted(
        draw(st.sets(st.tuples(st.sampled_from("abc"), st.text("xyz", min_size=1)), min_size=1))
    )
    unique = {source: category for category, source in names}
    return [
        _row(draw, category, source)
        for source, category in sorted(unique.items(), key=lambda one: one[::-1])
    ]


def _row(draw: st.DrawFn, category: str, source: str) -> SourceRow:
    dropped = draw(st.dictionaries(st.sampled_from(["length/too_short", "no_text"]), AMOUNTS))
    kept, written, added, repeated = (draw(AMOUNTS) for _ in range(4))
    validation = draw(st.integers(0, written))
    unused, discarded = draw(st.integers(0, written - validation)), draw(AMOUNTS)
    is_read = draw(st.booleans())
    return SourceRow(
        category=category, source=source, asked=draw(AMOUNTS),
        documents=kept + sum(dropped.values()) if is_read else None,
        kept=kept if is_read else None,
        dropped=dropped if is_read else None,
        read=written + discarded - added if is_read else None,
        added=added if is_read else None,
        discarded=discarded if is_read else None,
        written=written, validation=validation, repeated=repeated, unused=unused,
        drawn=written - validation + repeated - unused,
        rows=draw(AMOUNTS) if is_read else None,
    )  # fmt: skip


@settings(derandomize=True, max_examples=60, deadline=None)
@given(source_rows())
def test_lines_sums_and_total_add_up_in_every_unit(rows: list[SourceRow]) -> None:
    for unit in (1, 10**3, 10**6):
        rounded = [in_units(row, unit) for row in rows]
        found = [line for line in imbalances(with_sums(rounded)) if "less than nothing" not in line]
        assert found == []
        for row, one in zip(rows, rounded, strict=True):
            # Each part is rounded by at most a half.
            assert abs(one.drawn * unit - row.drawn) <= 3 * unit
            assert abs(one.asked * unit - row.asked) <= unit


@settings(derandomize=True, max_examples=60, deadline=None)
@given(source_rows())
def test_shares_sum_to_a_hundred_percent(rows: list[SourceRow]) -> None:
    tenths = shares(rows, "drawn")
    total = sum(row.drawn for row in rows)
    assert sum(tenths.values()) == (1000 if total else 0)
    for row in rows:
        assert abs(tenths[row.source] - 1000 * row.drawn / max(total, 1)) < 1


ONE = SourceRow(
    category="c", source="one", asked=60, documents=5, kept=4, dropped={"no_text": 1}, read=100,
    added=2, discarded=12, written=90, validation=10, repeated=0, unused=20, drawn=60, rows=6,
)  # fmt: skip
TWO = replace(ONE, source="two")


def test_categories_of_several_sources_have_a_sum_and_all_have_one() -> None:
    other = replace(ONE, category="d", source="three")
    lines = with_sums([ONE, TWO, other])
    assert [(line.category, line.source) for line in lines] == [
        ("c", ""), ("c", "one"), ("c", "two"), ("d", "three"), ("", ""),
    ]  # fmt: skip
    assert (lines[0].read, lines[-1].read) == (200, 300)
    assert lines[-1].dropped == {"no_text": 3}


def test_what_is_unknown_of_one_source_is_unknown_of_all() -> None:
    total = summed([ONE, replace(TWO, documents=None, kept=None, dropped=None)])
    assert (total.documents, total.dropped, total.written) == (None, None, 180)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"kept": 5}, "one: documents: got 5, expected 6"),
        ({"dropped": {}}, "one: documents: got 5, expected 4"),
        ({"added": 3}, "one: tokens read: got 100, expected 99"),
        ({"discarded": 11}, "one: tokens read: got 100, expected 99"),
        ({"unused": 21}, "one: tokens drawn: got 60, expected 59"),
        ({"repeated": 1}, "one: tokens drawn: got 60, expected 61"),
        ({"validation": -1, "unused": 31}, "one: validation: got less than nothing"),
    ],
)
def test_a_line_that_does_not_add_up_is_found(change: dict[str, object], line: str) -> None:
    assert list(imbalances([ONE, TWO])) == []
    broken = replace(ONE, **change)  # type: ignore[arg-type]
    assert line in imbalances(with_sums([broken, TWO]))


def test_a_sum_that_is_not_that_of_its_sources_is_found() -> None:
    lines = list(with_sums([ONE, TWO]))
    lines[0] = replace(lines[0], documents=11, kept=9)
    assert list(imbalances(lines)) == ["c: is not the sum of its sources"]
