"""What is shown and stored of addresses and of texts that others wrote."""

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.core.errors import DocumentError, InputError
from pipeline.core.shown import printable, without_secrets

ADDRESSES = {
    "https://me:pass@host/a.jsonl": "https://host/a.jsonl",
    "https://ghp_token@host/a": "https://host/a",
    "sftp://me:p@ss@host/a": "sftp://host/a",
    "https://host/a?X-Amz-Signature=0f&X-Amz-Date=1&part=2": "https://host/a?part=2",
    "https://host/a?sv=1&se=2&sp=r&sig=q%3D": "https://host/a",
    "https://host/a?Expires=1&Signature=x&Key-Pair-Id=y": "https://host/a",
    "https://host/{0..3}.gz?token=abc": "https://host/{0..3}.gz",
    "https://host/a?auth=1&db_pwd=2&jwt=3&page=4": "https://host/a?page=4",
    # These are part of a name.
    "https://host/get?key=a.jsonl": "https://host/get?key=a.jsonl",
    "https://host/a?st=1&expires=2": "https://host/a?st=1&expires=2",
    "abfs://container@account/a": "abfs://container@account/a",
    "hf://datasets/org/name@main/a": "hf://datasets/org/name@main/a",
    "s3://bucket/a?versionId=7": "s3://bucket/a?versionId=7",
}


@pytest.mark.parametrize(("address", "public"), ADDRESSES.items())
def test_addresses_lose_their_secrets_alone(address: str, public: str) -> None:
    assert without_secrets(address) == public
    assert without_secrets(public) == public
    assert without_secrets(f'{address}: got 404, expected "{address}"') == (
        f'{public}: got 404, expected "{public}"'
    )


def test_errors_show_neither_secrets_nor_escapes() -> None:
    error = DocumentError("https://a:b@host/x: \x1b[2J\u202eget\r", "open https://a:b@host", "bad")
    assert str(error) == "https://host/x: \\u001b[2J\\u202eget\\u000d\nhint: open https://host"
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.reason) == (str(error), "bad")
    assert "a:b" not in repr(InputError("https://a:b@host"))


@QUICK
@given(st.text())
def test_printable_json_is_the_same_json(text: str) -> None:
    shown = printable(json.dumps(text, ensure_ascii=False))
    assert json.loads(shown) == text
    assert not any(one in shown for one in "\x1b\x7f\x9b\u202e\u2066")
