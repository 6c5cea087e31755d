"""Runs programs of environments that a `setup.sh` made, for libraries that need their own."""

import os
import subprocess
from pathlib import Path

import pytest
from support.paths import REPOSITORY


class Environments:
    """Those in the folder that a variable names."""

    def __init__(self, variable: str) -> None:
        self._folder = os.environ.get(variable)
        self.needed = [
            pytest.mark.oracle,
            pytest.mark.skipif(
                self._folder is None, reason=f"{variable} names no folder of setup.sh"
            ),
        ]
        """Marks of the tests that need them."""

    def run(
        self, name: str, program: str, *arguments: object, cwd: Path = REPOSITORY, **variables: str
    ) -> str:
        """Return what `FOLDER/NAME/bin/PROGRAM ARGUMENTS` prints."""
        assert self._folder is not None
        done = subprocess.run(
            [str(Path(self._folder).absolute() / name / "bin" / program), *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            text=True,
            timeout=300,
            check=True,
        )
        return done.stdout
