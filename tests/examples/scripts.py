"""Runs an example here, as a user would."""

import re
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from support.paths import REPOSITORY

EXAMPLES = REPOSITORY / "examples"
NAMES = ["classification", "dense", "multi_vector", "reranker", "sft", "sparse"]


def run(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: object) -> None:
    """Run `python examples/NAME.py ARGUMENTS` in this process, which has the libraries at hand."""
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr("sys.argv", [f"examples/{name}.py", *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")


FineTune = Callable[..., tuple[Path, str]]
"""From an example, a kind of export and options to what it saved and printed."""


def learned(printed: str) -> tuple[float, float]:
    """Return what the last line says was measured before and after."""
    (measured,) = re.findall(r": \w+ (\S+) -> (\S+) on 1?\d+ rows", printed.splitlines()[-1])
    before, after = map(float, measured)
    return before, after
