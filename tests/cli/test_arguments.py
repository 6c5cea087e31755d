"""Options of the command line: addresses where a path is needed."""

import pytest
from support.commands import call


@pytest.mark.parametrize(
    ("option", "arguments"),
    [
        ("--out", ["build", "m.yaml", "--out", "https://host/out"]),
        ("--raw", ["build", "m.yaml", "--out", "out", "--raw", "hf://datasets/org/raw"]),
        ("--dest", ["pull", "m.yaml", "--dest", "https://host/raw"]),
        ("--lock", ["plan", "m.yaml", "--lock", "file:///m.lock.json"]),
        ("POOL", ["order", "hf://datasets/org/pool", "--out", "out"]),
        ("DIR", ["verify", "https://host/out"]),
        ("DIR", ["trace", "hf://datasets/org/out", "--row", "0"]),
        ("--out", ["digest", "where", "--out", "s3://bucket/m.json"]),
        ("--out", ["train", "recipe", "--data", "out", "--out", "s3://bucket/run"]),
        ("--out", ["export", "run", "--out", "s3://bucket/model"]),
    ],
)
def test_an_address_for_a_path_is_refused_and_what_reads_addresses_is_said(
    option: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    address = next(word for word in arguments if "://" in word)
    code, out, err = call(capsys, *arguments)
    assert (code, out) == (2, "")
    expected = f"error: {option}: got the address {address}, expected a path on this machine\nhint:"
    assert err.startswith(expected)


@pytest.mark.parametrize("verb", ["plan", "train"])
def test_an_address_for_a_file_or_a_name_is_refused(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--data", "out", "--out", "run"] if verb == "train" else []
    code, _, err = call(capsys, verb, "https://host/m.yaml", *more)
    assert code == 2
    assert err.startswith("error: https://host/m.yaml: got an address, expected the path of")
