"""Digests and fingerprints: frozen spellings, and a refusal of what has none."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.core.digest import canonical_json, fingerprint, sha256_bytes, sha256_file


def test_digests_are_sha256_in_hex(tmp_path: Path) -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert sha256_bytes(b"") == empty
    (tmp_path / "f").write_bytes(b"")
    assert sha256_file(tmp_path / "f") == empty


@pytest.mark.parametrize("size", [1, 2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20])
def test_a_file_is_digested_whole_whatever_the_blocks(tmp_path: Path, size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    (tmp_path / "f").write_bytes(data[:size])
    assert sha256_file(tmp_path / "f") == hashlib.sha256(data[:size]).hexdigest()


def test_the_spelling_is_frozen() -> None:
    declaration = {"b": [1, None, True], "a": {"\u00e9": "x\n"}}
    spelled = rb'{"a":{"\u00e9":"x\n"},"b":[1,null,true]}'
    assert canonical_json(declaration) == spelled
    assert fingerprint(declaration) == hashlib.sha256(spelled).hexdigest()


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@QUICK
@given(plain)
def test_the_order_of_keys_and_the_kind_of_list_change_nothing(value: object) -> None:
    def turned(one: object) -> object:
        if isinstance(one, dict):
            return {key: turned(one[key]) for key in reversed(list(one))}
        return tuple(map(turned, one)) if isinstance(one, list) else one

    assert canonical_json(turned(value)) == canonical_json(value)
    assert canonical_json(value).isascii()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.0, "$: got float, which has no single stable spelling"),
        ({"a": [0, {"b": {1, 2}}]}, "$.a[1].b: got set, which has no single stable spelling"),
        ({"a": b"x"}, "$.a: got bytes, which has no single stable spelling"),
        ({1: 2}, "$: got a key of type int, expected str"),
        (Path("x"), "$: got PosixPath, which has no single stable spelling"),
    ],
)
def test_what_has_no_single_spelling_is_refused(value: object, message: str) -> None:
    with pytest.raises(TypeError) as raised:
        fingerprint(value)
    assert str(raised.value) == message
