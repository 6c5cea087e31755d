"""A stand-in for the Hub that takes pushes, and commands that reach it."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from support.paths import REPOSITORY

from pipeline.cli.main import main

SERVER = REPOSITORY / "tests/support/hub_push_server.py"


class Hub:
    """The stand-in, and commands that reach it."""

    def __init__(self, address: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.address, self._capsys = address, capsys

    def ask(self, path: str, content: Any = None) -> Any:
        body = None if content is None else json.dumps(content).encode()
        with urllib.request.urlopen(self.address + path, body, timeout=60) as response:
            return json.load(response)

    def refuse(self, part: str, status: int, times: int, after: int = 0) -> None:
        self.ask("/fault", {"part": part, "status": status, "times": times, "after": after})

    def tags(self, name: str) -> dict[str, str]:
        refs = self.ask(f"/api/models/{name}/refs")
        return {one["name"]: one["targetCommit"] for one in refs["tags"]}

    def run(self, *arguments: str | Path) -> tuple[int, str, str]:
        """Return the exit code, stdout and stderr of a command."""
        self._capsys.readouterr()
        code = main([str(one) for one in arguments])
        return code, *self._capsys.readouterr()


@contextmanager
def running_hub(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Hub]:
    """Start a stand-in, and make the library of the Hub ask it, with a token."""
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    with asked_hub(cache, monkeypatch) as address:
        yield Hub(address, capsys)


@contextmanager
def asked_hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start a stand-in that the library of the Hub asks; yield its address."""
    command = [sys.executable, str(SERVER)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = f"http://127.0.0.1:{process.stdout.readline().strip()}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        # The stand-in takes large files by LFS, not by Xet.
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield address
        process.kill()
