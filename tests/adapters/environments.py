"""Runs a module of this folder with the interpreter of a framework that needs its own."""

import json
from pathlib import Path
from typing import Any

from support.environments import Environments
from support.paths import REPOSITORY

_MADE = Environments("ETTIN_ADAPTERS")
needed = _MADE.needed
_TESTS = REPOSITORY / "tests"


def run(environment: str, module: str, *arguments: object, cwd: Path = _TESTS) -> Any:
    """Return what a module prints last, which is JSON; `cwd` is the folder that it runs in."""
    path = f"{REPOSITORY}:{_TESTS}"
    command = ("python", "-m", f"adapters.{module}", *arguments)
    printed = _MADE.run(environment, *command, cwd=cwd, PYTHONPATH=path)
    return json.loads(printed.splitlines()[-1])
