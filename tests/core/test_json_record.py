"""Dataclasses as JSON: what is written is read back, and all else is refused with its place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from pipeline.core.json_record import ABSENT, Absent, from_json, key, parse_json, to_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Inner:
    num_in: int = key("in")
    flag: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Outer:
    name: str | None
    kind: Literal["a", "b"]
    pair: tuple[int, str]
    inner: tuple[Inner, ...]
    by_name: Mapping[str, Inner]
    plain: Mapping[str, Any]
    extra: Inner | Absent | None = ABSENT


OUTER = Outer(
    name=None,
    kind="a",
    pair=(1, "x"),
    inner=(Inner(num_in=1), Inner(num_in=2, flag=True)),
    by_name={"one": Inner(num_in=3)},
    plain={"any": [1, {"thing": None}]},
)
JSON: dict[str, Any] = {
    "name": None,
    "kind": "a",
    "pair": [1, "x"],
    "inner": [{"in": 1}, {"in": 2, "flag": True}],
    "by_name": {"one": {"in": 3}},
    "plain": {"any": [1, {"thing": None}]},
}


def test_what_is_written_is_read_back() -> None:
    assert to_json(OUTER) == JSON
    assert from_json(Outer, JSON) == OUTER


def test_a_missing_key_is_told_from_null() -> None:
    assert from_json(Outer, JSON).extra is ABSENT
    null = from_json(Outer, {**JSON, "extra": None})
    assert null.extra is None
    assert to_json(null)["extra"] is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": 3}, "name: got 3, expected text"),
        ({"kind": "c"}, 'kind: got "c", expected "a" or "b"'),
        ({"pair": [1]}, r"pair: got \[1\], expected a list"),
        ({"pair": [1, 2]}, r"pair\[1\]: got 2, expected text"),
        ({"inner": {}}, "inner: got {}, expected a list"),
        ({"inner": [{"in": True}]}, r"inner\[0\].in: got true, expected an integer"),
        ({"inner": [{"in": 1.0}]}, r"inner\[0\].in: got 1.0, expected an integer"),
        ({"inner": [{"in": 1, "flag": 1}]}, r"inner\[0\].flag: got 1, expected true or false"),
        ({"by_name": {"one": {}}}, "by_name.one.in: got nothing, expected an integer"),
        ({"by_name": [1]}, r"by_name: got \[1\], expected an object"),
        ({"more": 1}, "more: got an unknown key, expected name or kind or pair"),
        ({"extra": {"num_in": 1}}, "extra.in: got nothing, expected an integer"),
    ],
)
def test_what_is_not_as_declared_is_refused_with_its_place(
    changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        from_json(Outer, {**JSON, **changed})


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got \[\], expected an object"):
        from_json(Outer, [])


@pytest.mark.parametrize(
    "data",
    [
        *(b"[" * 101 + b"]" * 101, b"[" * 100_000, b'{"a":' * 100_000),
        *(b"NaN", b"[1, -Infinity]", rb'"\ud800"', rb'{"\uDFFF": 1}', b'"\xff"', b"", b"\0"),
    ],
)
def test_what_no_program_of_ours_writes_is_an_error_of_one_kind(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(data)


def test_all_else_is_read() -> None:
    assert parse_json(rb'{"a": [1.5, "\ud83d\ude00", null]}') == {"a": [1.5, "\U0001f600", None]}
    assert parse_json(b"[" * 100 + b"]" * 100)
