"""The blocks of a page of the documentation, as a reader would run them."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from support import builds


@dataclass(frozen=True)
class Block:
    """A block between fences, and the mark on the line before it."""

    mark: str
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, each of which must have a mark."""
    text = page.read_text()
    found = [Block(*one) for one in re.findall(r"<!-- (.+?) -->\n```(\w*)\n(.*?)```", text, re.S)]
    assert len(found) * 2 == len(re.findall(r"^```", text, re.MULTILINE)), "a block has no mark"
    return found


def environment(**variables: str) -> dict[str, str]:
    """Return that of a reader, who has the tool and the python of the tests on the path."""
    here = os.path.dirname(sys.executable)
    added = builds.environment()["PYTHONPATH"]
    path = variables.pop("PATH", os.environ["PATH"])
    return builds.environment(
        PATH=f"{here}{os.pathsep}{path}",
        PYTHONPATH=f"{added}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        **variables,
    )


def run(script: str, folder: Path, **variables: str) -> str:
    """Run a script of a page; return its stdout."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
