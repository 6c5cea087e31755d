"""`ettin-data verify`: text and JSON."""

import json
from pathlib import Path

import pytest
from support.commands import call


def test_an_intact_output_is_said_to_be_so(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys, "verify", finished)
    assert (code, out, err) == (0, f"{finished}: every file matches the manifest\n", "")
    code, out, err = call(capsys, "verify", finished, "--json")
    assert (code, json.loads(out), err) == (0, {"out": str(finished), "mismatches": []}, "")
