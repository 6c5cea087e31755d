"""Sealed JSON has one spelling, whatever pieces it is written in, and any other is refused."""

import hashlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.digest import FileDigest, canonical_json
from pipeline.core.json_record import to_json
from pipeline.dataset.sealed_json import is_sealed, seal

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=30,
)
CONTENTS = st.dictionaries(st.text(), VALUES, max_size=4)


def whole(content: dict[str, Any]) -> bytes:
    """Seal a value that is spelled whole."""
    content = {name: value for name, value in content.items() if name != "digest"}
    content["digest"] = hashlib.sha256(canonical_json(content)).hexdigest()
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


@given(content=CONTENTS)
def test_pieces_are_the_whole(content: dict[str, Any]) -> None:
    data = seal(content)
    assert data == whole(content)
    assert is_sealed(content, data)
    assert is_sealed(json.loads(data), data)


@given(content=CONTENTS, data=st.data())
def test_another_byte_is_not_sealed(content: dict[str, Any], data: st.DataObject) -> None:
    sealed = bytearray(seal(content))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1
    assert not is_sealed(content, bytes(sealed))
    assert not is_sealed(content, seal(content) + b"\n")
    assert not is_sealed(content, seal(content)[:-1])


@given(depth=st.integers(0, 7), text=st.text())
def test_a_record_at_any_depth_is_spelled_as_its_values(depth: int, text: str) -> None:
    value: Any = FileDigest(num_bytes=7, sha256=text)
    for _ in range(depth):
        value = {"a\nb": [value]}
    assert seal({"top": value}) == whole({"top": to_json(value)})
