"""Runs a module of this folder with the interpreter of a framework that needs its own."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support import builds

FOLDER = os.environ.get("ETTIN_ADAPTERS")

needed = [
    pytest.mark.oracle,
    pytest.mark.skipif(FOLDER is None, reason="ETTIN_ADAPTERS names no folder of setup.sh"),
]
"""Marks of the tests of such a framework."""


def run(environment: str, module: str, *arguments: object) -> Any:
    """Return what a module prints last, which is JSON."""
    assert FOLDER is not None
    python = Path(FOLDER).absolute() / environment / "bin" / "python"
    done = subprocess.run(
        [str(python), "-m", f"adapters.{module}", *map(str, arguments)],
        cwd=builds.REPOSITORY / "tests",
        env={**os.environ, "PYTHONPATH": f"{builds.REPOSITORY}:{builds.REPOSITORY / 'tests'}"},
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])
