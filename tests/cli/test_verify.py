"""`ettin-data verify`: text and JSON."""

import json
import re
from pathlib import Path

import pytest
from support.commands import call

# Of bytes, once all are read; a slow machine adds how fast.
PROGRESS = r"(verify: ([\d.]+[KM]iB)/\2(, in .*)?\n)+"


def test_an_intact_output_is_said_to_be_so(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys, "verify", finished)
    assert (code, out) == (0, f"{finished}: every file matches the manifest\n")
    assert re.fullmatch(PROGRESS, err)
    code, out, err = call(capsys, "verify", finished, "--json")
    assert (code, json.loads(out)) == (0, {"out": str(finished), "mismatches": []})
    assert re.fullmatch(PROGRESS, err)
