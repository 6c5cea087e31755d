"""Sealed JSON has one spelling, whatever pieces it is written in, and any other is refused."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.digest import FileDigest, canonical_json
from pipeline.core.json_record import from_json, to_json
from pipeline.dataset import sealed_json
from pipeline.dataset.partition_counts import PartitionRecord
from pipeline.dataset.sealed_json import is_sealed, parse_pieces, seal

# `orjson` spells some of these otherwise, or not at all.
TEXTS = st.text() | st.sampled_from(["", "\x7f", "a  b", "\t\n\r\b\f\0", '": "', "é", "\U0001f600"])
INTEGERS = st.integers() | st.sampled_from([2**63, 2**64, -(2**63) - 1])
VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=30,
)
DIGESTS = st.builds(FileDigest, num_bytes=INTEGERS, sha256=TEXTS)
COUNTS = {"documents": {"in": 1, "kept": 1, "dropped": {}}}
COUNTS["tokens"] = dict.fromkeys(
    ("in", "added", "discarded", "written", "validation", "drawn"), 2
)  # fmt: skip
COUNTS["chunks"] = dict.fromkeys(("written", "validation", "drawn"), 3)
INPUT = {"path": "p", "bytes": 4, "sha256": "s", "locked": None}
PARTITION = {
    **COUNTS, "task": "t", "key": "k", "folder": "f", "partition": "p", "input": INPUT,
    "files": ["a", "b"],
}  # fmt: skip
PARTITIONS = st.builds(
    lambda texts, dropped: from_json(
        PartitionRecord,
        {**PARTITION, "files": texts, "documents": {"in": 1, "kept": 1, "dropped": dropped}},
    ),
    st.lists(TEXTS, max_size=3),
    st.dictionaries(TEXTS, INTEGERS, max_size=2),
)
MANY = (
    st.lists(DIGESTS | PARTITIONS, max_size=6)
    | st.lists(PARTITIONS, max_size=6)
    | st.dictionaries(TEXTS, DIGESTS, max_size=6)
)
CONTENTS = st.dictionaries(
    TEXTS, VALUES | MANY | st.dictionaries(TEXTS, MANY, max_size=3), max_size=4
)


@contextmanager
def in_small_pieces(num_records: int, num_bytes: int) -> Iterator[None]:
    with (
        mock.patch.object(sealed_json, "_RECORDS_AT_ONCE", num_records),
        mock.patch.object(sealed_json, "_BYTES_AT_ONCE", num_bytes),
    ):
        yield


def whole(content: dict[str, Any]) -> bytes:
    """Seal a value that is spelled whole."""
    content = {name: to_json(value) for name, value in content.items() if name != "digest"}
    content["digest"] = hashlib.sha256(canonical_json(content)).hexdigest()
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


@given(content=CONTENTS, num_records=st.integers(1, 4))
def test_pieces_are_the_whole(content: dict[str, Any], num_records: int) -> None:
    with in_small_pieces(num_records, 99):
        data = seal(content)
    assert data == whole(content)
    assert is_sealed(content, data)
    assert is_sealed(json.loads(data), data)


@given(content=CONTENTS, num_bytes=st.integers(0, 2000))
def test_what_is_sealed_is_parsed_in_any_pieces(content: dict[str, Any], num_bytes: int) -> None:
    data = seal(content)
    with in_small_pieces(2, num_bytes):
        parsed = parse_pieces(data)
        assert is_sealed(parsed, data)
    assert to_json(parsed) == json.loads(data)


@given(content=CONTENTS, data=st.data())
def test_another_byte_is_not_sealed(content: dict[str, Any], data: st.DataObject) -> None:
    sealed = bytearray(seal(content))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    assert not is_sealed(content, bytes(sealed))
    assert not is_sealed(content, seal(content) + b"\n")
    assert not is_sealed(content, seal(content)[:-1])
    with in_small_pieces(2, 99), suppress(ValueError, TypeError, AttributeError):
        assert not is_sealed(parse_pieces(bytes(sealed)), bytes(sealed))


@pytest.mark.parametrize("num_bytes", [100, 2000, 10**6])
def test_many_partitions_and_files_become_records(num_bytes: int) -> None:
    files = {f"f{number}": {"bytes": number, "sha256": "0"} for number in range(99)}
    content = {"files": files, "sources": {"a": {"partitions": [PARTITION] * 9}}}
    with in_small_pieces(2, num_bytes):
        parsed = parse_pieces(seal(content))
    kinds = {
        type(one) for one in (*parsed["files"].values(), *parsed["sources"]["a"]["partitions"])
    }
    assert kinds == ({dict} if num_bytes > 10**5 else {FileDigest, PartitionRecord})


def test_a_default_that_is_spelled_out_stays() -> None:
    content = {"sources": {"a": {"partitions": [{**PARTITION, "together": ""}] * 9}}}
    data = seal(content)
    with in_small_pieces(2, 500):
        parsed = parse_pieces(data)
    assert {name: parsed[name] for name in content} == content
    assert is_sealed(parsed, data)


def test_json_of_another_spelling_is_parsed_and_is_not_sealed() -> None:
    content = {"files": {f"f{number}": {"bytes": number, "sha256": "0"} for number in range(40)}}
    for spelled in (json.dumps(content), json.dumps(content, indent=4), json.dumps([content] * 9)):
        with in_small_pieces(2, 99):
            assert parse_pieces(spelled.encode()) == json.loads(spelled)


@given(depth=st.integers(0, 7), text=TEXTS)
def test_a_record_at_any_depth_is_spelled_as_its_values(depth: int, text: str) -> None:
    value: Any = FileDigest(num_bytes=7, sha256=text)
    for _ in range(depth):
        value = {"a\nb": [value]}
    assert seal({"top": value}) == whole({"top": to_json(value)})
