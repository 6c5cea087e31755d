"""Runs a program of an environment that `setup.sh` made, without a network."""

import os
import subprocess
from pathlib import Path

import pytest
from support.paths import REPOSITORY

FOLDER = os.environ.get("ETTIN_EXAMPLES")

needed = [
    pytest.mark.oracle,
    pytest.mark.skipif(FOLDER is None, reason="ETTIN_EXAMPLES names no folder of setup.sh"),
]
"""Marks of the tests that need one."""


def run(environment: str, program: str, *arguments: object) -> str:
    """Return what `FOLDER/ENVIRONMENT/bin/PROGRAM ARGUMENTS` prints, run at the root."""
    assert FOLDER is not None
    done = subprocess.run(
        [str(Path(FOLDER).absolute() / environment / "bin" / program), *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        check=True,
    )
    return done.stdout
