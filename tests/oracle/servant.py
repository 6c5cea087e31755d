"""Starts `public_mds` in its own interpreter and asks it for work."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Servant:
    """The public MDS package in another process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(self, do: str, **arguments: object) -> dict[str, Any]:
        """Have one thing done and return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}, default=str) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{do}: the public package's process ended; see stderr")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def open_servant(python: Path) -> Iterator[Servant]:
    """Start the servant with the interpreter that `setup.sh` made."""
    command = [str(python), str(Path(__file__).with_name("public_mds.py"))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Servant(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
