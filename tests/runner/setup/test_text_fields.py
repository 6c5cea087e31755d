"""Which fields hold text and id, by the records of a source."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import InputError
from pipeline.runner.setup.text_fields import Fields, choose_fields, is_id
from pipeline.sources import field_of

LONG = "The boat left before the fog did."


def chosen(*records: dict[str, Any]) -> Fields:
    return choose_fields("f.jsonl", records)


@pytest.mark.parametrize(
    ("record", "text", "others"),
    [
        ({"text": "short", "html": "<p>" * 99}, "text", ("html",)),
        ({"title": LONG, "body": LONG * 9}, "body", ("title",)),
        ({"text": "a", "content": LONG}, "content", ("text",)),
        ({"doc": {"text": LONG}, "n": 1}, "doc.text", ()),
        ({"a": {"b": {"story": LONG}}}, "a.b.story", ()),
        ({"a.text": LONG, "a": {"text": 1}}, "a.text", ()),
        ({"zeilen": LONG, "url": "https://host/" + "x" * 99}, "zeilen", ()),
        ({"text": LONG.encode(), "id": b"x"}, "text", ()),
    ],
)
def test_the_text_is_a_field_of_a_usual_name_or_else_the_longest(
    record: dict[str, Any], text: str, others: tuple[str, ...]
) -> None:
    found = chosen(record, record)
    assert (found.text, found.other_texts) == (text, others)


def test_a_field_that_most_records_lack_is_no_text() -> None:
    records = [{"text": LONG}, {"body": LONG}, {"body": LONG}]
    assert chosen(*records).text == "body"


@pytest.mark.parametrize(
    ("records", "id_", "reason"),
    [
        ([{"id": 1}, {"id": 2}], "id", ""),
        ([{"id": "x", "doc_id": 1}, {"id": "x", "doc_id": 2}], "doc_id",
         "`id` repeats in 1 of 2"),
        ([{"meta": {"id": "a"}}, {"meta": {"id": "b"}}], "meta.id", ""),
        ([{"id": "x"}, {"id": "x"}, {"id": "y"}], None, "`id` repeats in 1 of 3"),
        ([{"id": "x"}, {"id": None}, {}], None, "`id` is missing in 2 of 3"),
        ([{"id": ""}, {"id": True}], None, "`id` is missing in 2 of 2"),
        ([{"id": 1.5}, {"id": 2.5}], None, "`id` is missing in 2 of 2"),
        ([{"n": 1}, {"n": 2}], None,
         "no field has a name that ends in uid, id, key, hash or number"),
        ([{"post_id": "1"}, {"post_id": "2"}], "post_id", ""),
        ([{"meta": {"postId": 1}}, {"meta": {"postId": 2}}], "meta.postId", ""),
        ([{"user_id": 1, "row_number": 1}, {"user_id": 1, "row_number": 2}], "row_number",
         "`user_id` repeats in 1 of 2"),
    ],
)  # fmt: skip
def test_an_id_is_in_every_record_and_in_each_another(
    records: list[dict[str, Any]], id_: str | None, reason: str
) -> None:
    found = chosen(*({"text": LONG, **record} for record in records))
    assert (found.id, found.id_reason) == (id_, reason)


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["url_hash", "cache-key", "post_id", "row_uuid"],
         ["row_uuid", "post_id", "cache-key", "url_hash"]),
        (["b_id", "a_id", "meta.c_id", "key"], ["key", "b_id", "a_id", "meta.c_id"]),
        (["valid", "n"], ["valid"]),
    ],
)  # fmt: skip
def test_of_several_ids_the_likeliest_by_name_is_taken(names: list[str], ids: list[str]) -> None:
    found = chosen(*({"text": LONG} | dict.fromkeys(names, n) for n in range(3)))
    assert [found.id, *found.other_ids] == ids


def test_a_hash_that_is_longer_than_the_text_is_no_text() -> None:
    records = [{"page_hash": f"{n:064}", "zeile": "the boat left at dawn"} for n in range(2)]
    found = chosen(*records)
    assert (found.text, found.id) == ("zeile", "page_hash")
    assert found.other_texts == ("page_hash",)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"id": 1, "label": "cat"}, "f.jsonl: got no field with text among id, label, expected"),
        ({}, "f.jsonl: got no field with text among none, expected one such as text"),
        ({"input_ids": [1, 2]}, 'f.jsonl: got token ids in field "input_ids", expected text'),
    ],
)
def test_records_without_text_are_refused(record: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        chosen(record)
    assert raised.value.message.startswith(message)
    assert "docs/guide/custom-mixture.md" in str(raised.value.hint)


values = st.none() | st.booleans() | st.integers() | st.text(max_size=40)
nested = st.recursive(
    values, lambda inner: st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=8
)


@given(st.lists(st.dictionaries(st.text(max_size=5), nested, max_size=4), min_size=1, max_size=5))
def test_fields_that_are_chosen_are_in_the_records(records: list[dict[str, Any]]) -> None:
    try:
        found = choose_fields("f.jsonl", records)
    except InputError:
        return
    texts = [field_of(record, found.text) for record in records]
    assert sum(bool(text) and isinstance(text, str) for text in texts) * 2 >= len(records)
    if found.id is not None:
        ids = [field_of(record, found.id) for record in records]
        assert all(map(is_id, ids))
        assert len({str(one) for one in ids}) == len(records)
